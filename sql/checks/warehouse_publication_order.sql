-- database: warehouse
-- Publications follow each other in time, each of a known generation.
SELECT publication.publication, publication.generation, publication.published_at
FROM publication
LEFT JOIN generation ON generation.generation = publication.generation
QUALIFY generation.generation IS NULL
    OR publication.published_at <= lag(publication.published_at) OVER (ORDER BY publication.publication)
