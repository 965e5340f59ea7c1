CREATE VIEW report.dead_letter AS
SELECT account, session_id, ordinal, position, received_at, stage, d.reason, detail, subject, software_version,
    occurrences, last_received_at, discarded_at, x.reason AS discard_reason
FROM ingest.dead_letter AS d
LEFT JOIN ingest.discard AS x USING (account, session_id, ordinal, position, received_at, occurrences);

COMMENT ON VIEW report.dead_letter IS
    'Which events could not be applied, and why? Payloads stay in the private schema.';
COMMENT ON COLUMN report.dead_letter.stage IS 'decode or store.';
COMMENT ON COLUMN report.dead_letter.reason IS 'One word of a fixed set.';
COMMENT ON COLUMN report.dead_letter.detail IS 'Place and description of the fault.';
COMMENT ON COLUMN report.dead_letter.subject IS 'Subject of the envelope, where readable.';
COMMENT ON COLUMN report.dead_letter.software_version IS 'Version that quarantined it.';
COMMENT ON COLUMN report.dead_letter.occurrences IS 'How often the same cause has occurred while its gap was open.';
COMMENT ON COLUMN report.dead_letter.last_received_at IS 'Receipt of the last such event; detail is that event''s.';
COMMENT ON COLUMN report.dead_letter.discarded_at IS 'When somebody examined it and nothing more needed to be done. Null: nobody has, or its cause has occurred again since.';
COMMENT ON COLUMN report.dead_letter.discard_reason IS 'Why nothing more needs to be done.';
