-- database: warehouse
-- The user and the item of every interaction are in the tables user_account and item.
SELECT user_id, item_id, position
FROM interaction
WHERE user_id NOT IN (SELECT user_id FROM user_account) OR item_id NOT IN (SELECT item_id FROM item)
