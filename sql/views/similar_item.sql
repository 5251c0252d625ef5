-- database: generation
-- This macro returns the k available items whose behaviour vectors are nearest to that of one item, by cosine distance.
CREATE MACRO similar_item(item, k) AS TABLE
SELECT other.item_id, known.title, array_cosine_distance(other.vector, own.vector) AS distance, other.generation
FROM item_embedding AS own
CROSS JOIN item_embedding AS other
JOIN main.item AS known ON known.item_id = other.item_id
WHERE own.item_id = item AND other.item_id <> own.item_id AND known.is_available
ORDER BY distance, other.item_id
LIMIT k;
