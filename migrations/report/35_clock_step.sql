CREATE VIEW report.clock_step AS
SELECT account, noticed_at, clock, step_seconds FROM ingest.clock_step;

COMMENT ON VIEW report.clock_step IS
    'When did a clock step? Stamps follow the database''s clock gradually and never go back.';
COMMENT ON COLUMN report.clock_step.noticed_at IS 'When it was detected, by the database''s clock.';
COMMENT ON COLUMN report.clock_step.clock IS 'host: the wall clock of the ingestor''s host. database: the database''s clock.';
COMMENT ON COLUMN report.clock_step.step_seconds IS 'How far it stepped; negative: backwards.';
