-- database: generation, attached as candidate, and the served generation attached as served. Parameters: none.
-- The mean length of the new lists, as a share of the mean length of the served lists.
SELECT
    new_list.length / served_list.length AS measured,
    format('the new lists have {:.1f} items on average, the served lists have {:.1f}', new_list.length, served_list.length) AS found
FROM (SELECT coalesce(count(*) / nullif(count(DISTINCT user_id), 0), 0) AS length FROM candidate.recommendation) AS new_list
CROSS JOIN (SELECT count(*) / nullif(count(DISTINCT user_id), 0) AS length FROM served.recommendation) AS served_list
