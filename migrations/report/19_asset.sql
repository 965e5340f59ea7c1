CREATE VIEW report.asset AS
SELECT account, user_id, asset FROM ingest.known_asset;

COMMENT ON VIEW report.asset IS
    'Which assets have ever been reported?';
COMMENT ON COLUMN report.asset.account IS 'Name of the account.';
COMMENT ON COLUMN report.asset.user_id IS 'The hub''s user.';
COMMENT ON COLUMN report.asset.asset IS 'Name of the asset, as the hub writes it.';
