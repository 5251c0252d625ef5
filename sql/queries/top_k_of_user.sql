-- database: serving
-- The top K of one user with titles, and the item of the history that speaks most for each place.
-- parameter user: whose list; the first user by id unless set
-- parameter k: how many places; 10 unless set
SELECT rank, item_id, title, score, sources, reason_title
FROM current_recommendation
WHERE user_id = coalesce(getvariable('user'), (SELECT min(user_id) FROM recommendation))
  AND rank <= coalesce(getvariable('k'), 10)::INTEGER
ORDER BY rank;
