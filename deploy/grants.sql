-- The privileges of the daemon and of the analysts. Run it as the schema's owner or as a superuser, after each
-- `ingestor db upgrade`, because a new version may bring new tables:
--
--   runuser -u postgres -- psql -q -d ingestor -v ON_ERROR_STOP=1 -f /usr/share/hercle-ingestor/grants.sql
--
-- It can be run again at any time, also while the daemon runs. Afterwards the two roles have exactly these privileges.
-- The roles must exist; if yours have other names, change the names here.

BEGIN;

REVOKE ALL ON ALL TABLES IN SCHEMA ingest, report FROM ingestor, ingestor_analyst;
REVOKE ALL ON SCHEMA ingest, report FROM ingestor, ingestor_analyst;

-- The daemon adds rows, and changes rows of the tables whose rows have a state. It deletes and creates nothing.
GRANT USAGE ON SCHEMA ingest, report TO ingestor;
GRANT EXECUTE ON FUNCTION ingest.require(boolean, text) TO ingestor;
GRANT SELECT ON ALL TABLES IN SCHEMA ingest TO ingestor;
GRANT SELECT ON report.freshness, report.sequence_steps, report.unaccounted TO ingestor;  -- for `ingestor status`
GRANT INSERT ON
    ingest.account, ingest.session, ingest.raw_event, ingest.outcome, ingest.version, ingest.balance,
    ingest.exposure, ingest.exposure_total, ingest.pair, ingest.epoch, ingest.watermark, ingest.gap,
    ingest.confirmation, ingest.request, ingest.dead_letter, ingest.heartbeat, ingest.clock_step
TO ingestor;
GRANT UPDATE ON
    ingest.session, ingest.watermark, ingest.gap, ingest.confirmation, ingest.request, ingest.dead_letter,
    ingest.heartbeat
TO ingestor;

-- Analysts read the views. The private schema contains the hub's records as received, for every account, and may change
-- with each version. For an auditor's role, uncomment the two lines at the end.
GRANT USAGE ON SCHEMA report TO ingestor_analyst;
GRANT SELECT ON ALL TABLES IN SCHEMA report TO ingestor_analyst;
-- GRANT USAGE ON SCHEMA ingest TO ingestor_auditor;
-- GRANT SELECT ON ALL TABLES IN SCHEMA ingest TO ingestor_auditor;

COMMIT;
