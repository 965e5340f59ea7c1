-- Who may do what in the ingestor's database. Run it as the schema's owner or as a superuser, after each
-- `ingestor db upgrade`, for a new version may bring new tables:
--
--   sudo -u postgres psql -d ingestor -v ON_ERROR_STOP=1 < deploy/grants.sql
--
-- Safe to repeat, also while the daemon runs: afterwards these privileges hold, and no others. The roles must exist;
-- where yours have other names, change them here.

BEGIN;

REVOKE ALL ON ALL TABLES IN SCHEMA ingest, report FROM ingestor, ingestor_analyst;
REVOKE ALL ON SCHEMA ingest, report FROM ingestor, ingestor_analyst;

-- The daemon adds to what is evidence, and changes only what has a state. It deletes nothing, and makes nothing.
GRANT USAGE ON SCHEMA ingest, report TO ingestor;
GRANT EXECUTE ON FUNCTION ingest.require(boolean, text) TO ingestor;
GRANT SELECT ON ALL TABLES IN SCHEMA ingest TO ingestor;
GRANT SELECT ON report.freshness TO ingestor;  -- for `ingestor status`
GRANT INSERT ON
    ingest.account, ingest.session, ingest.raw_event, ingest.outcome, ingest.version, ingest.balance,
    ingest.exposure, ingest.exposure_total, ingest.pair, ingest.epoch, ingest.watermark, ingest.gap,
    ingest.doubt, ingest.command, ingest.dead_letter, ingest.heartbeat
TO ingestor;
GRANT UPDATE ON
    ingest.session, ingest.watermark, ingest.gap, ingest.doubt, ingest.command, ingest.heartbeat
TO ingestor;

-- Analysts read: views for answers, and the private schema, which may change, for evidence.
GRANT USAGE ON SCHEMA report, ingest TO ingestor_analyst;
GRANT SELECT ON ALL TABLES IN SCHEMA report, ingest TO ingestor_analyst;

COMMIT;
