-- database: generation
-- This view has the profile of every user with a profile: the market, and all other attributes as JSON.
CREATE VIEW current_user_profile AS
SELECT user_id, market, attributes, generation
FROM user_profile;
