-- database: warehouse. Parameters: $now (the time of the night, UTC).
-- The age of the newest interaction in days. Times more than a day in the future are wrong, so they do not count.
SELECT
    date_diff('second', max(event_time), $now::TIMESTAMP) / 86400 AS measured,
    CASE WHEN count(event_time) = 0 THEN 'no interaction has a time in the past'
    ELSE format('the newest interaction is of {} UTC', strftime(max(event_time), '%Y-%m-%d %H:%M')) END AS found
FROM interaction
WHERE event_time <= $now::TIMESTAMP + INTERVAL 1 DAY
