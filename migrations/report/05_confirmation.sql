CREATE VIEW report.confirmation AS
SELECT
    account, reason, kind, user_id, sequence, raised_at, resolution, resolved_at, resolution IS NULL AS is_pending,
    session_id, ordinal, position, resolved_by_session_id, resolved_by_ordinal,
    tstzrange(raised_at, greatest(raised_at, coalesce(resolved_at, 'infinity'))) AS during,
    recorded_at,
    CASE WHEN resolved_at IS NOT NULL THEN resolution_recorded_at END AS resolution_recorded_at,
    -- As in the index.
    tstzrange(
        raised_at,
        CASE WHEN resolved_at IS NULL THEN 'infinity' ELSE greatest(raised_at, resolved_at, resolution_recorded_at) END
    ) AS open_during
FROM ingest.confirmation;

COMMENT ON VIEW report.confirmation IS
    'Which snapshots needed confirmation, and how was each resolved?';
COMMENT ON COLUMN report.confirmation.reason IS 'reset_suspected, conflict or mass_delete.';
COMMENT ON COLUMN report.confirmation.kind IS 'balances or pairs.';
COMMENT ON COLUMN report.confirmation.sequence IS 'Sequence of the snapshot.';
COMMENT ON COLUMN report.confirmation.raised_at IS 'Receipt of the snapshot.';
COMMENT ON COLUMN report.confirmation.resolution IS 'confirmed: a fresh answer agreed. refuted: it disagreed. superseded: a newer snapshot came. abandoned: the daemon was restarted, or the server lost commits; it is raised again if it comes up again. Null while it is pending.';
COMMENT ON COLUMN report.confirmation.resolved_at IS 'When it was resolved.';
COMMENT ON COLUMN report.confirmation.is_pending IS 'Not resolved yet.';
COMMENT ON COLUMN report.confirmation.resolved_by_session_id IS 'Session of the event that resolved it.';
COMMENT ON COLUMN report.confirmation.resolved_by_ordinal IS 'Ordinal of that event.';
COMMENT ON COLUMN report.confirmation.during IS 'From raised_at to resolved_at; to infinity while it is pending.';
COMMENT ON COLUMN report.confirmation.recorded_at IS 'When the row was first stored.';
COMMENT ON COLUMN report.confirmation.resolution_recorded_at IS 'When its resolution was stored: until then it was known as pending. Null while it is pending.';
COMMENT ON COLUMN report.confirmation.open_during IS 'From raised_at until its resolution was reached and stored; to infinity while it is pending.';
