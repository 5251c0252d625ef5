-- database: generation
-- One item a rank of a user.
SELECT user_id, rank, count(*) AS num_rows
FROM recommendation
GROUP BY user_id, rank
HAVING count(*) > 1
