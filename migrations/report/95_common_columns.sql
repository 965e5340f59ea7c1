-- The comments of columns with these names, in every view without a comment of its own for the column.
DO $$
DECLARE
    silent record;
BEGIN
    FOR silent IN
        SELECT c.relname, a.attname, common.meaning
        FROM (VALUES
            ('account', 'Name of the account.'),
            ('user_id', 'The hub''s user.'),
            ('asset', 'Name of the asset, as the hub writes it.'),
            ('received_at', 'Receipt of its record.'),
            ('client_id', 'The clientId of the envelope: the command that it answers.'),
            ('epoch', 'Number of the epoch, from 1; each restart of the hub''s counter begins a new one.'),
            ('sequence', 'The hub''s number of the snapshot; for pairs our own count.'),
            ('revision', 'Above 0 if the hub sent different contents under one sequence.'),
            ('deleted', 'The hub flags the whole balance record as deleted.'),
            ('session_id', 'Session of the record that the row comes from.'),
            ('ordinal', 'Number of that record in its session.'),
            ('position', 'Index of the event within its record.'),
            ('place', 'Place in the list, from 1.')
        ) AS common (name, meaning)
        JOIN pg_attribute AS a ON a.attname = common.name
        JOIN pg_class AS c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'report'::regnamespace AND c.relkind = 'v' AND col_description(c.oid, a.attnum) IS NULL
    LOOP
        EXECUTE 'COMMENT ON COLUMN report.' || quote_ident(silent.relname) || '.' || quote_ident(silent.attname)
            || ' IS ' || quote_literal(silent.meaning);
    END LOOP;
END
$$;
