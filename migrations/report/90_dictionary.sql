CREATE VIEW report.contract_version AS
SELECT
    1 AS version,
    'Within a version, views, functions and columns may be added, at the end; comments may be corrected, and a query may become faster. Nothing is removed or renamed, no type, unit or meaning changes, and no word of a fixed set is given another one. Anything else raises the version, and the change log says what to do.'
        AS rule;

COMMENT ON VIEW report.contract_version IS
    'Which version of this contract is installed, and what may change within one?';
COMMENT ON COLUMN report.contract_version.version IS 'Number of the version.';
COMMENT ON COLUMN report.contract_version.rule IS 'What may change within a version.';

-- The lines of a function's comment describe those of its columns that no view has.
CREATE VIEW report.dictionary AS
WITH documented AS (
    SELECT
        c.relname::text AS view, 'view' AS kind, a.attnum::integer AS place, a.attname::text AS "column",
        format_type(a.atttypid, a.atttypmod) AS type, col_description(c.oid, a.attnum) AS comment,
        obj_description(c.oid, 'pg_class') AS question
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = 'report'::regnamespace AND c.relkind IN ('v', 'r')
    UNION ALL
    SELECT
        p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', 'function', o.place::integer, o.name,
        format_type(o.type, NULL),
        substring(obj_description(p.oid, 'pg_proc') FROM '\n' || o.name || ': ([^\n]*)'),
        split_part(obj_description(p.oid, 'pg_proc'), E'\n', 1)
    FROM pg_proc AS p
    CROSS JOIN LATERAL unnest(p.proargnames, p.proallargtypes, p.proargmodes)
        WITH ORDINALITY AS o (name, type, mode, place)
    WHERE p.pronamespace = 'report'::regnamespace AND o.mode = 't'
)
SELECT
    d.view, d.kind, d.place, d."column", d.type,
    CASE
        WHEN d.type = 'interval' THEN 'duration'
        WHEN d.type = 'timestamp with time zone' THEN 'time'
        WHEN d."column" ~ '_ms$' THEN 'ms'
        WHEN d."column" ~ '_seconds$' THEN 's'
        WHEN d."column" ~ '_bytes$' THEN 'bytes'
        WHEN d."column" = 'share' THEN 'of 1'
        WHEN d."column" ~ '_exposure$' THEN 'base_currency'
        WHEN d.type = 'numeric' AND d."column" ~ '^(available|allocated|total|movement|amount|fee)' THEN 'asset'
        WHEN d."column" IN ('min_size', 'max_size', 'size', 'quantity', 'quantity_filled') AND d.type = 'numeric'
            THEN 'base currency'
        WHEN d."column" IN ('min_quote_size', 'max_quote_size', 'price', 'executed_price', 'notional')
            THEN 'quote currency'
    END AS unit,
    coalesce(d.comment, (
        SELECT v.comment
        FROM documented AS v
        WHERE d.kind = 'function' AND v.kind = 'view' AND v."column" = d."column"
        ORDER BY NOT starts_with(v.view, 'balance'), v.view
        LIMIT 1
    )) AS comment,
    d.question
FROM documented AS d;

COMMENT ON VIEW report.dictionary IS
    'What does each column of this schema mean? One row per column of a view, a table or the result of a function.';
COMMENT ON COLUMN report.dictionary.view IS 'Name of the view or table, or of the function with its arguments.';
COMMENT ON COLUMN report.dictionary.kind IS 'view or function.';
COMMENT ON COLUMN report.dictionary.place IS 'Position of the column.';
COMMENT ON COLUMN report.dictionary."column" IS 'Name of the column.';
COMMENT ON COLUMN report.dictionary.type IS 'Its type.';
COMMENT ON COLUMN report.dictionary.unit IS 'Its unit, where it has one. asset: units of the asset that the row names.';
COMMENT ON COLUMN report.dictionary.comment IS 'Its meaning.';
COMMENT ON COLUMN report.dictionary.question IS 'The question that the view or function answers.';
