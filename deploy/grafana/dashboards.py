"""Writes the Grafana dashboards beside it as JSON: `python deploy/grafana/dashboards.py [DIRECTORY]`.

The panels ask the schema `report` of the data source `$database`, and Prometheus of `$metrics`. Amounts in
tables are text: Grafana makes floating point of `numeric`.
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    barchart,
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DataSourceRef,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
)
from typing_extensions import override

POSTGRES = "grafana-postgresql-datasource"
DATABASE = DataSourceRef(type_val=POSTGRES, uid="${database}")
METRICS = DataSourceRef(type_val="prometheus", uid="${metrics}")
HEIGHT = 8
SINCE, UNTIL = "$__timeFrom()::timestamptz", "$__timeTo()::timestamptz"
FIRST_DAY, LAST_DAY = (f"({each} AT TIME ZONE '$__timezone')::date" for each in (SINCE, UNTIL))
COLOURS = {
    "confirmed": "green",
    "known": "green",
    "last_known": "yellow",
    "in_gap": "red",
    "before_first": "text",
    "true": "green",
    "false": "red",
}
Panel = TypeVar(
    "Panel", barchart.Panel, bargauge.Panel, stat.Panel, statetimeline.Panel, table.Panel, timeseries.Panel
)


@dataclass
class Sql(Builder[Dataquery]):
    """A query of the database; the SDK knows no such data source.

    `series`: rows of `time`, ascending, `metric` and numbers; else a table.
    """

    text: str
    series: bool = False
    ref_id: str = "A"

    @override
    def build(self) -> Dataquery:
        return UnknownDataquery(
            {
                "refId": self.ref_id,
                "datasource": DATABASE.to_json(),
                "editorMode": "code",
                "format": "time_series" if self.series else "table",
                "rawQuery": True,
                "rawSql": "\n".join(line.removeprefix("        ") for line in self.text.strip().splitlines()),
            }
        )


@dataclass
class Grid:
    """Panels from left to right, in rows of 24 columns."""

    panels: list[Builder[object]] = field(default_factory=list)

    def add(
        self, panel: Panel, title: str, description: str, *queries: Builder[Dataquery], span: int
    ) -> Panel:
        panel.title(title).description(description).span(span).height(HEIGHT).targets(list(queries))
        panel.datasource(DATABASE if isinstance(queries[0], Sql) else METRICS)
        self.panels.append(panel)
        return panel


def gaps(name: str, which: str, ref_id: str = "A") -> Sql:
    """1 from the beginning of each gap of the range, 0 from its end."""
    return Sql(
        f"""
        SELECT edge.time, {name} AS metric, edge.value
        FROM report.blind_interval AS b
        JOIN report.stream AS s ON s.account = b.account AND s.kind = b.kind AND s.user_id = b.user_id
        CROSS JOIN LATERAL (VALUES
            (greatest(b.blind_from, {SINCE}), 1), (least(coalesce(b.blind_until, now()), {UNTIL}), 0)
        ) AS edge (time, value)
        WHERE {which} AND NOT s.is_former
            AND b.blind_from < {UNTIL} AND coalesce(b.blind_until, now()) > {SINCE}
        ORDER BY edge.time, edge.value
        """,
        series=True,
        ref_id=ref_id,
    )


def rows(*, words: str = "", seconds: str = "", shares: str = "") -> table.Panel:
    """A table; `words`, `seconds` and `shares` name columns, divided by commas."""
    panel = table.Panel().show_header(True)
    mapping = {word: {"text": word, "color": colour} for word, colour in COLOURS.items()}
    for name in filter(None, words.split(",")):
        panel.override_by_name(
            name,
            [
                DynamicConfigValue("mappings", [{"type": "value", "options": mapping}]),
                DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
            ],
        )
    for names, unit in ((seconds, "dtdurations"), (shares, "percentunit")):
        for name in filter(None, names.split(",")):
            panel.override_by_name(name, [DynamicConfigValue("unit", unit)])
    return panel


def figures(unit: str, *, good: float, bad: float) -> stat.Panel:
    """One number for each row, red from `bad` on, green up to `good`, or the other way round."""
    low, high = ("green", "red") if good < bad else ("red", "green")
    steps = [Threshold(None, low), Threshold((good + bad) / 2, "yellow"), Threshold(max(good, bad), high)]
    return (
        stat.Panel()
        .unit(unit)
        .reduce_options(common.ReduceDataOptions().values(True).calcs(["lastNotNull"]))
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    )


def graph(unit: str = "short") -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(shapes.LegendDisplayMode.LIST).show_legend(True)
    panel = timeseries.Panel().unit(unit).show_points(shapes.VisibilityMode.AUTO)
    return panel.legend(legend.placement(shapes.LegendPlacement.BOTTOM))


def lines(unit: str = "short") -> timeseries.Panel:
    return (
        graph(unit)
        .line_interpolation(shapes.LineInterpolation.STEP_AFTER)
        .max_data_points(200)
        .interval("1m")
    )


def bars() -> timeseries.Panel:
    return (
        graph()
        .draw_style(shapes.GraphDrawStyle.BARS)
        .fill_opacity(80)
        .stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A"))
        .max_data_points(100)
        .interval("1m")
    )


def page(name: str, description: str, grid: Grid, *variables: str) -> Dashboard:
    """A dashboard `hercle-ingestor-NAME` with a variable for the database, the accounts, and these."""
    built = (
        dashboard.Dashboard(f"Hercle ingestor: {name}")
        .uid(f"hercle-ingestor-{name}")
        .description(description)
        .tags(["hercle-ingestor"])
        .timezone("browser")
        .time("now-7d", "now")
        .refresh("1m")
        .with_variable(dashboard.DatasourceVariable("database").label("Database").type(POSTGRES))
    )
    if "metrics" in variables:
        built.with_variable(dashboard.DatasourceVariable("metrics").label("Metrics").type("prometheus"))
    questions = {
        "account": "SELECT account FROM report.account ORDER BY account",
        "asset": "SELECT DISTINCT asset FROM report.asset WHERE account IN ($account) ORDER BY asset",
    }
    for variable in ("account", *(each for each in variables if each in questions)):
        built.with_variable(
            dashboard.QueryVariable(variable)
            .label(variable.capitalize())
            .datasource(DATABASE)
            .query(questions[variable])
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .current(VariableOption(text=["All"], value=["$__all"]))
        )
    if "kind" in variables:
        built.with_variable(dashboard.CustomVariable("kind").label("Kind").values("balances,pairs"))
    for panel in grid.panels:
        built.with_panel(panel)  # type: ignore[arg-type]  # the SDK's panels share no type but Builder
    return built.build()


def balances() -> Dashboard:
    grid = Grid()
    grid.add(
        figures("percentunit", good=1, bad=0),
        "Confirmed",
        "Share of the assets whose balance is confirmed now. Former users are left out.",
        Sql("""
        SELECT account, avg((certainty = 'confirmed')::int)::float8 AS confirmed
        FROM report.balance_current
        WHERE account IN ($account) AND NOT is_former
        GROUP BY account
        ORDER BY account
        """),
        span=6,
    )
    grid.add(
        figures("dtdurations", good=0, bad=300),
        "Age of the balances",
        "Since the hub last confirmed the balances.",
        Sql("""
        SELECT account, extract(epoch FROM now() - max(confirmed_until))::float8 AS age
        FROM report.stream
        WHERE account IN ($account) AND kind = 'balances' AND NOT is_former
        GROUP BY account
        ORDER BY account
        """),
        span=6,
    )
    grid.add(
        lines("percentunit").min(0),
        "Exposure, of the limit",
        "Exposure of each account as a share of its limit, as the hub says it. It moves with prices.",
        Sql(
            """
        SELECT observed_at AS time, account AS metric,
            (total_current_exposure / nullif(total_max_exposure, 0))::float8 AS value
        FROM report.exposure_total_history
        WHERE account IN ($account) AND $__timeFilter(observed_at)
        ORDER BY observed_at
        """,
            series=True,
        ),
        span=12,
    )
    grid.add(
        rows(words="certainty", shares="of_limit"),
        "Balances now",
        "What each account holds, and how certain that is. Former users are left out.",
        Sql("""
        SELECT account, asset, trim_scale(total)::text AS total, trim_scale(available)::text AS available,
            trim_scale(allocated)::text AS allocated, certainty, confirmed_until,
            valid_from AS unchanged_since, deleted,
            (current_exposure / nullif(max_exposure, 0))::float8 AS of_limit
        FROM report.balance_current
        WHERE account IN ($account) AND asset IN ($asset) AND NOT is_former AND (reported OR total <> 0)
        ORDER BY account, asset
        """),
        span=24,
    )
    grid.add(
        lines().override_by_regexp(
            "gap .*",
            [
                DynamicConfigValue("custom.lineWidth", 0),
                DynamicConfigValue("custom.fillOpacity", 25),
                DynamicConfigValue("custom.showPoints", "never"),
                DynamicConfigValue("custom.axisPlacement", "hidden"),
                DynamicConfigValue("color", {"mode": "fixed", "fixedColor": "red"}),
                DynamicConfigValue("unit", "bool"),
                DynamicConfigValue("min", 0),
                DynamicConfigValue("max", 1),
            ],
        ),
        "Balances over time, gaps shaded",
        "Totals at the end of each step. Shaded: in a gap, so that changes may have been missed.",
        Sql(
            f"""
        SELECT as_of AS time,
            account || ' ' || asset || CASE WHEN is_former THEN ' (former user)' ELSE '' END AS metric,
            total::float8 AS value
        FROM report.balance_bucket({SINCE}, {UNTIL}, interval '$__interval', '$__timezone')
        WHERE account IN ($account) AND asset IN ($asset) AND (NOT is_former OR as_of <= confirmed_until)
        ORDER BY as_of
        """,
            series=True,
        ),
        gaps("'gap ' || b.account", "b.account IN ($account) AND b.kind = 'balances'", "B"),
        span=24,
    )
    grid.add(
        rows(words="certainty,certainty_before"),
        "Change over the range",
        "Between the start and the end of the range that is shown.",
        Sql(f"""
        SELECT account, asset, trim_scale(total_before)::text AS total_before, certainty_before,
            trim_scale(total)::text AS total, certainty, trim_scale(total_change)::text AS total_change
        FROM report.balance_change({SINCE}, least({UNTIL}, now()))
        WHERE account IN ($account) AND asset IN ($asset) AND NOT is_former
        ORDER BY account, asset
        """),
        span=12,
    )
    grid.add(
        rows(words="certainty"),
        "Largest movements",
        "The five largest changes of each asset in the range. It happened after previous_confirmed_until.",
        Sql(f"""
        SELECT account, asset, observed_at, previous_confirmed_until,
            trim_scale(total_change)::text AS total_change, trim_scale(total)::text AS total, origin
        FROM (
            SELECT m.*,
                row_number() OVER (PARTITION BY account, user_id, asset ORDER BY movement DESC) AS place
            FROM report.balance_movements({SINCE}, {UNTIL}) AS m
            WHERE account IN ($account) AND asset IN ($asset) AND movement > 0
        ) AS largest
        WHERE place <= 5
        ORDER BY account, asset, place
        """),
        span=12,
    )
    grid.add(
        rows(words="certainty"),
        "End of each day",
        "At the midnight that ends the day, in the dashboard's time zone.",
        Sql(f"""
        SELECT day::text, account, asset, trim_scale(total)::text AS total, certainty, confirmed_until
        FROM report.balance_eod({FIRST_DAY}, {LAST_DAY}, '$__timezone')
        WHERE account IN ($account) AND asset IN ($asset) AND (NOT is_former OR as_of <= confirmed_until)
        ORDER BY day DESC, account, asset
        """),
        span=12,
    )
    grid.add(
        rows(),
        "Changes of pair limits",
        "Which limit of which pair changed, from what to what.",
        Sql("""
        SELECT changed_at, account, name, field, before, after
        FROM report.pair_change
        WHERE account IN ($account) AND $__timeFilter(changed_at) AND NOT is_first
        ORDER BY changed_at DESC, account, name, field
        """),
        span=12,
    )
    return page("balances", "What the accounts hold, and how certain that is.", grid, "asset")


def completeness() -> Dashboard:
    grid = Grid()
    grid.add(
        figures("percentunit", good=1, bad=0.9).decimals(3),
        "Known, of the range",
        "Share of the range in which the state was known.",
        Sql(f"""
        SELECT account, share::float8 AS known
        FROM report.coverage({SINCE}, {UNTIL})
        WHERE account IN ($account) AND kind = '$kind' AND cause = 'known' AND NOT is_former
        ORDER BY account
        """),
        span=6,
    )
    grid.add(
        bargauge.Panel()
        .unit("dtdurations")
        .orientation(shapes.VizOrientation.HORIZONTAL)
        .reduce_options(common.ReduceDataOptions().values(True).calcs(["lastNotNull"])),
        "Unknown time by cause",
        "For how long the state was unknown in the range, each moment counted once.",
        Sql(f"""
        SELECT account || ' ' || cause AS cause, extract(epoch FROM sum(duration))::float8 AS unknown
        FROM report.coverage({SINCE}, {UNTIL})
        WHERE account IN ($account) AND kind = '$kind' AND cause <> 'known' AND NOT is_former
        GROUP BY account, cause
        ORDER BY unknown DESC
        """),
        span=9,
    )
    grid.add(
        rows(),
        "Data quality",
        "Must be empty: what to look at before the figures are used.",
        Sql("""
        SELECT account, problem, detail
        FROM report.data_quality
        WHERE account IN ($account)
        ORDER BY account, problem, detail
        """),
        span=9,
    ).no_value("No problems")
    grid.add(
        barchart.Panel()
        .unit("percentunit")
        .max(1)
        .stacking(shapes.StackingMode.NORMAL)
        .x_field("day")
        .fill_opacity(80)
        .repeat("account")
        .repeat_direction("v"),
        "Coverage by day: $account",
        "For which share of each day the state was known, and why not for the rest; in the dashboard's zone.",
        Sql(f"""
        SELECT day::text,
            sum(share) FILTER (WHERE cause = 'known')::float8 AS known,
            sum(share) FILTER (WHERE cause IN ('disconnected', 'unclean_end'))::float8 AS disconnected,
            sum(share) FILTER (WHERE cause IN ('stopped', 'maintenance'))::float8 AS planned,
            sum(share) FILTER (
                WHERE cause IN ('unconfirmed', 'unanswered', 'pending')
            )::float8 AS unconfirmed,
            sum(share) FILTER (
                WHERE cause IN ('before_first', 'commits_lost', 'dropped', 'undecodable', 'sequence_skip')
            )::float8 AS other
        FROM report.coverage_daily({FIRST_DAY}, {LAST_DAY}, '$__timezone')
        WHERE account IN ($account) AND kind = '$kind' AND NOT is_former
        GROUP BY day
        ORDER BY day
        """),
        span=24,
    )
    grid.add(
        statetimeline.Panel()
        .show_value(shapes.VisibilityMode.NEVER)
        .fill_opacity(70)
        .override_by_regexp(
            ".*",
            [
                DynamicConfigValue("custom.spanNulls", value=True),
                DynamicConfigValue(
                    "mappings",
                    [
                        {
                            "type": "value",
                            "options": {
                                "0": {"text": "no gap", "color": "green"},
                                "1": {"text": "in a gap", "color": "red"},
                            },
                        }
                    ],
                ),
            ],
        ),
        "Gaps",
        "When each stream was in a gap. A gap lasts until a snapshot has confirmed the state.",
        gaps("b.account || ' ' || b.kind", "b.account IN ($account)"),
        span=24,
    )
    grid.add(
        rows(seconds="missed_for,balances_unknown_for,pairs_unknown_for"),
        "Gaps of the range, with causes",
        "Each gap that began in the range; the newest first.",
        Sql("""
        SELECT account, kind, cause, missed_from, missed_until, ended_at,
            extract(epoch FROM duration)::float8 AS missed_for,
            extract(epoch FROM balances_unknown_for)::float8 AS balances_unknown_for,
            extract(epoch FROM pairs_unknown_for)::float8 AS pairs_unknown_for, occurrences
        FROM report.gap
        WHERE account IN ($account) AND $__timeFilter(missed_from)
        ORDER BY missed_from DESC
        LIMIT 500
        """),
        span=24,
    )
    grid.add(
        rows(words="is_fresh,is_alive", seconds="age,expected_every"),
        "Freshness",
        "How old is what we know? is_fresh is empty for former users.",
        Sql("""
        SELECT account, kind, user_id, is_fresh::text, is_alive::text, extract(epoch FROM age)::float8 AS age,
            extract(epoch FROM expected_every)::float8 AS expected_every, confirmed_until, link_state,
            stopped_at, open_gaps, pending_confirmations
        FROM report.freshness
        WHERE account IN ($account)
        ORDER BY account, kind, user_id
        """),
        span=12,
    )
    grid.add(
        rows(),
        "Confirmations",
        "Snapshots that contradicted what was known, and what came of it.",
        Sql("""
        SELECT account, kind, reason, sequence, raised_at, resolution, resolved_at
        FROM report.confirmation
        WHERE account IN ($account) AND (is_pending OR $__timeFilter(raised_at))
        ORDER BY raised_at DESC
        LIMIT 500
        """),
        span=12,
    )
    grid.add(
        rows(),
        "Dead letters",
        "What could not be applied, by reason; of all times.",
        Sql("""
        SELECT account, stage, reason, subject, dead_letters, occurrences::bigint AS occurrences,
            first_received_at, last_received_at, newest_detail
        FROM report.dead_letter_summary
        WHERE account IN ($account)
        ORDER BY last_received_at DESC
        """),
        span=12,
    ).no_value("None")
    grid.add(
        rows(shares="share"),
        "Steps of the hub's counter",
        "By how much the sequence rises from one snapshot to the next; of the newest 10,000 versions.",
        Sql("""
        SELECT account, user_id, origin, step, versions, share::float8 AS share
        FROM report.sequence_steps
        WHERE account IN ($account)
        ORDER BY account, user_id, origin, share DESC
        """),
        span=12,
    )
    return page("completeness", "For how much of the time the state was known, and why not.", grid, "kind")


def operations() -> Dashboard:
    grid = Grid()
    grid.add(
        rows(words="is_alive", seconds="heartbeat_age,since_last_message"),
        "Processes",
        "One row for each account.",
        Sql("""
        SELECT DISTINCT account, is_alive::text, link_state, stopped_at,
            extract(epoch FROM now() - heartbeat_at)::float8 AS heartbeat_age,
            extract(epoch FROM now() - last_message_at)::float8 AS since_last_message,
            clock_offset_seconds::float8 AS clock_offset_seconds, inbox_records
        FROM report.freshness
        WHERE account IN ($account)
        ORDER BY account
        """),
        span=24,
    )
    for name, unit, title, description, metrics in (
        (
            "Ready",
            "bool",
            "{{account}} {{reason}}",
            "1 while data flows and is committed.",
            ("ready", "link_up"),
        ),
        (
            "Age of the snapshots",
            "s",
            "{{account}} {{kind}}",
            "Since the hub last confirmed the committed state.",
            ("snapshot_age_seconds", "snapshot_overdue_seconds"),
        ),
        (
            "Age of the last commit",
            "s",
            "{{account}}",
            "Since the last commit of data, and the age of the oldest item that waits for one.",
            ("last_commit_age_seconds", "oldest_uncommitted_age_seconds"),
        ),
        (
            "Inbox",
            "short",
            "{{account}}",
            "Records that wait for the writer. At the limit the oldest are dropped.",
            ("inbox_records", "inbox_limit_records"),
        ),
        (
            "Events a second",
            "short",
            "{{account}} {{outcome}}",
            "Events committed, by outcome.",
            ("events_total",),
        ),
        (
            "Dropped and unaccounted records",
            "short",
            "{{account}}",
            "Must stay at 0.",
            ("dropped_records_total", "unaccounted_records"),
        ),
    ):
        grid.add(
            graph(unit).min(0),
            name,
            description,
            *(
                metric(f"hercle_ingestor_{each}", title, chr(ord("A") + place))
                for place, each in enumerate(metrics)
            ),
            span=8,
        )
    grid.add(
        bars(),
        "Sessions that ended",
        "How often a connection ended, by cause.",
        Sql(
            """
        SELECT $__timeGroup(closed_at, $__interval) AS time,
            account || ' ' || coalesce(cause, ending) AS metric, count(*) AS value
        FROM report.session
        WHERE account IN ($account) AND $__timeFilter(closed_at)
        GROUP BY 1, 2
        ORDER BY 1, 2
        """,
            series=True,
        ),
        span=12,
    )
    grid.add(
        bars(),
        "Requests",
        "Requests by command and outcome.",
        Sql(
            """
        SELECT $__timeGroup(requested_at, $__interval) AS time,
            account || ' ' || command || ' ' || coalesce(outcome, 'waiting') AS metric, count(*) AS value
        FROM report.request
        WHERE account IN ($account) AND $__timeFilter(requested_at)
        GROUP BY 1, 2
        ORDER BY 1, 2
        """,
            series=True,
        ),
        span=12,
    )
    grid.add(
        rows(seconds="duration"),
        "Sessions",
        "Connections of the range; the newest first.",
        Sql(f"""
        SELECT account, opened_at, closed_at, extract(epoch FROM duration)::float8 AS duration, ending, cause,
            detail, attempts, array_to_string(connection_errors, ', ') AS connection_errors, software_version,
            committed_records, dropped_records
        FROM report.session
        WHERE account IN ($account) AND opened_at < {UNTIL} AND coalesce(closed_at, now()) > {SINCE}
        ORDER BY opened_at DESC
        LIMIT 500
        """),
        span=24,
    )
    grid.add(
        rows(),
        "Vendor latency by day, in ms",
        "How fast the hub answered, and how often it did not, in the dashboard's time zone.",
        Sql(f"""
        SELECT day::text, account, command, requests, answered, unanswered, refused,
            median_ms::float8 AS median, p95_ms::float8 AS p95, p99_ms::float8 AS p99, max_ms::float8 AS max
        FROM report.vendor_latency_daily({FIRST_DAY}, {LAST_DAY}, '$__timezone')
        WHERE account IN ($account)
        ORDER BY day DESC, account, command
        """),
        span=12,
    )
    grid.add(
        rows(),
        "Clock steps",
        "When a clock was set. Stamps follow the database's clock slowly and never go back.",
        Sql("""
        SELECT account, noticed_at, clock, step_seconds::float8 AS step_seconds
        FROM report.clock_step
        WHERE account IN ($account) AND $__timeFilter(noticed_at)
        ORDER BY noticed_at DESC
        """),
        span=12,
    ).no_value("None")
    size = grid.add(
        rows(),
        "Size",
        "How much room the tables take.",
        Sql("""
        SELECT "table", estimated_rows, table_bytes, index_bytes, total_bytes
        FROM report.size
        ORDER BY total_bytes DESC
        """),
        span=24,
    )
    size.override_by_regexp(".*_bytes", [DynamicConfigValue("unit", "bytes")])
    return page("operations", "Processes, links, requests, clocks and disk.", grid, "metrics")


def metric(name: str, legend: str, ref_id: str) -> prometheus.Dataquery:
    """Of every account: those of Prometheus have the label that its configuration gives them."""
    expression = f'{name}{{account=~"${{account:regex}}"}}'
    if name.endswith("_total"):
        expression = f"rate({expression}[$__rate_interval])"
    return (
        prometheus.Dataquery()
        .expr(expression)
        .legend_format(f"{legend} {name.removeprefix('hercle_ingestor_')}")
        .ref_id(ref_id)
        .datasource(METRICS)
    )


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for build in (balances, completeness, operations):
        text = json.dumps(build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
        (directory / f"{build.__name__}.json").write_text(text + "\n", encoding="utf-8")
