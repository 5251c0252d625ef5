-- database: generation
-- This view has the codes and the title of every item that has codes.
CREATE VIEW current_item_code AS
SELECT
    item_code.item_id,
    item.title,
    item_code.codes,
    item_code.semantic_id,
    item_code.vector_source,
    item_code.code_set_run_id,
    item_code.is_reassigned,
    item_code.generation
FROM item_code
LEFT JOIN item ON item.item_id = item_code.item_id;
