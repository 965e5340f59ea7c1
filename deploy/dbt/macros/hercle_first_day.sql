{#
    The day from which a model has to be built, as a date literal. Of an incremental run: the first day on which anything
    became known since the last run, at the latest the newest day that is built, which had not ended.

    recorded_at is the start of the transaction that stored a row, so ten minutes before the last run count as after it.
#}
{% macro hercle_first_day() %}
    {%- set zone = var('hercle_zone') -%}
    {%- if not execute -%}
        {{ return("current_date") }}
    {%- endif -%}
    {%- set question -%}
        {%- if is_incremental() -%}
        SELECT least(
            (SELECT max(day) FROM {{ this }}),
            (
                SELECT min(coalesce(v.previous_confirmed_until, v.valid_from) AT TIME ZONE '{{ zone }}')::date
                FROM {{ source('report', 'version') }} AS v
                WHERE v.recorded_at > last.run
            ),
            (
                SELECT min(g.missed_from AT TIME ZONE '{{ zone }}')::date
                FROM {{ source('report', 'gap') }} AS g
                WHERE greatest(g.recorded_at, g.balances_confirmed_at, g.pairs_confirmed_at) > last.run
            ),
            (
                SELECT min(c.raised_at AT TIME ZONE '{{ zone }}')::date
                FROM {{ source('report', 'confirmation') }} AS c
                WHERE greatest(c.raised_at, c.resolved_at) > last.run
            )
        )
        FROM (SELECT max(changed_at) - interval '10 minutes' AS run FROM {{ this }}) AS last
        {%- else -%}
        SELECT min(valid_from AT TIME ZONE '{{ zone }}')::date FROM {{ source('report', 'version') }}
        {%- endif -%}
    {%- endset -%}
    {%- set found = run_query(question).columns[0].values()[0] or modules.datetime.date.today() -%}
    {%- set given = var('hercle_first_day') -%}
    {{ return("date '" ~ (given if given and given | string > found | string else found) ~ "'") }}
{% endmacro %}
