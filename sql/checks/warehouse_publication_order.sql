-- database: warehouse
-- Every publication is later than the publication before it, and its generation is in the table generation.
SELECT publication.publication, publication.generation, publication.published_at
FROM publication
LEFT JOIN generation ON generation.generation = publication.generation
QUALIFY generation.generation IS NULL
    OR publication.published_at <= lag(publication.published_at) OVER (ORDER BY publication.publication)
