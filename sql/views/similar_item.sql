-- database: generation
-- This macro returns the k available items whose behaviour vectors are nearest to that of one item, by cosine distance.
-- A macro reads the database in use. So the macro of an attached generation fails, unless you first USE that database.
-- A publish writes the number of the generation in place of $generation.
CREATE MACRO similar_item(item, k) AS TABLE
WITH own_file AS (
    SELECT
        CASE
            WHEN generation = $generation THEN generation
            ELSE error(
                'similar_item of generation $generation would read generation ' || generation
                || ', the database in use; run USE with the name of the attached database, then call similar_item'
            )
        END AS generation
    FROM generation_info
)
SELECT other.item_id, known.title, array_cosine_distance(other.vector, own.vector) AS distance, other.generation
FROM own_file
JOIN item_embedding AS own ON own.generation = own_file.generation
CROSS JOIN item_embedding AS other
JOIN main.item AS known ON known.item_id = other.item_id
WHERE own.item_id = item AND other.item_id <> own.item_id AND known.is_available
ORDER BY distance, other.item_id
LIMIT k;
