{% test returns_no_rows(model) %}
SELECT * FROM {{ model }}
{% endtest %}
