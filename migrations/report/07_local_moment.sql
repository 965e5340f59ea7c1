-- AT TIME ZONE alone gives the second moment. The offset of three hours earlier is still that of the first one.
CREATE FUNCTION report.local_moment(local timestamp, zone text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN (((local - interval '3 hours') AT TIME ZONE zone) + interval '3 hours') AT TIME ZONE zone = local
    THEN ((local - interval '3 hours') AT TIME ZONE zone) + interval '3 hours'
    ELSE local AT TIME ZONE zone
END;
COMMENT ON FUNCTION report.local_moment(timestamp, text) IS
    'When a local time is reached. Of a time that occurs twice, because clocks go back, the first moment; of one that clocks skip, the moment later by as much as they skip.';
