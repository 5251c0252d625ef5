-- database: serving
-- The top-K list of one user, with the title of each item and of the history item that best explains it.
-- parameter user: id of the user; default: the first id that has a list
-- parameter k: largest number of rows to return; default: 10
SELECT rank, item_id, title, score, sources, reason_title
FROM current_recommendation
WHERE user_id = coalesce(getvariable('user'), (SELECT min(user_id) FROM recommendation))
  AND rank <= coalesce(getvariable('k'), 10)::INTEGER
ORDER BY rank;
