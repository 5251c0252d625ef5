-- database: publish
-- Every user with a list is in the table user_account of the warehouse.
SELECT DISTINCT user_id
FROM recommendation
WHERE user_id IS NULL OR user_id NOT IN (SELECT user_id FROM warehouse.user_account)
