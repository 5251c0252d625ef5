-- database: warehouse
-- Every interaction has a user of the table user_account and an item of the table item.
SELECT user_id, item_id, position
FROM interaction
WHERE user_id NOT IN (SELECT user_id FROM user_account) OR item_id NOT IN (SELECT item_id FROM item)
