-- database: generation, attached as candidate, and the served generation attached as served. Parameters: none.
-- The share of the users with served lists that have a list in the new generation.
SELECT
    count(new_user.user_id) / nullif(count(*), 0) AS measured,
    format('{:,} of {:,} users with served lists have a new list', count(new_user.user_id), count(*)) AS found
FROM (SELECT DISTINCT user_id FROM served.recommendation) AS served_user
LEFT JOIN (SELECT DISTINCT user_id FROM candidate.recommendation) AS new_user USING (user_id)
