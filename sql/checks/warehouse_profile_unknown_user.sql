-- database: warehouse
-- Every user with a profile is in the table user_account.
SELECT user_id
FROM user_profile
ANTI JOIN user_account USING (user_id)
