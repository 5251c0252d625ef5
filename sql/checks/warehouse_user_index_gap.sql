-- database: warehouse
-- The values of user_index run from 0 without gaps.
SELECT min(user_index) AS first_index, max(user_index) AS last_index, count(*) AS num_users
FROM user_account
HAVING count(*) > 0 AND (min(user_index) <> 0 OR max(user_index) <> count(*) - 1)
