-- database: warehouse
-- Every interaction is of a known user and a known item.
SELECT user_id, item_id, position
FROM interaction
WHERE user_id NOT IN (SELECT user_id FROM user_account) OR item_id NOT IN (SELECT item_id FROM item)
