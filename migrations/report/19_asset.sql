CREATE VIEW report.asset AS
SELECT account, user_id, asset FROM ingest.known_asset;

COMMENT ON VIEW report.asset IS
    'Which assets have ever been reported?';
