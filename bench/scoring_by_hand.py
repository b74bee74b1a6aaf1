"""The advised rulebook as a person would write it in DuckDB SQL: one mapping of activities to rules, powers in place.

The comparison for the engine's figures. It is fair work, not a straw man: exclusive rules share one pass and one
aggregation, and only the limit of two per month pays for a window function.
"""

from core.records import ACTIVITY_KINDS as K


def totals_by_hand(as_of: int, today: int, industries: list[str]) -> str:
    """SQL over the engine's own tables: person_id, total, priority, withheld, band, last_human_at at one moment."""
    human = [K[k] for k in ("page_view", "email_click", "form_submit", "download", "webinar_register", "webinar_attend",
                            "event_attend", "inquiry", "call", "meeting", "email_reply")]  # fmt: skip
    recent = [
        K[k] for k in ("inquiry", "form_submit", "webinar_attend", "event_attend", "meeting", "call", "email_reply")
    ]
    listed = ", ".join(f"'{name}'" for name in industries)
    month = "(year(DATE '1970-01-01' + day) * 12 + month(DATE '1970-01-01' + day))"
    week = "((day + 3) // 7)"
    return f"""
WITH known AS (
  SELECT person_id, kind, url, day, {today} - day AS age, (suspect OR duplicate) AS off
  FROM activity WHERE occurred_at <= {as_of} AND known_at <= {as_of}
), mapped AS (
  SELECT person_id, off, age, day,
    CASE WHEN kind = {K["inquiry"]} THEN 1
         WHEN kind = {K["page_view"]} AND (contains(url, '/pricing') OR contains(url, '/price')) THEN 2
         WHEN kind = {K["page_view"]} AND (contains(url, '/case') OR contains(url, '/cases') OR contains(url, '/jirei')) THEN 3
         WHEN kind = {K["webinar_attend"]} THEN 4 WHEN kind = {K["event_attend"]} THEN 5
         WHEN kind = {K["download"]} THEN 6 WHEN kind = {K["email_click"]} THEN 7
         WHEN kind IN ({K["call"]}, {K["email_reply"]}) THEN 8 END AS rule
  FROM known WHERE kind IN ({K["inquiry"]}, {K["page_view"]}, {K["webinar_attend"]}, {K["event_attend"]},
                            {K["download"]}, {K["email_click"]}, {K["call"]}, {K["email_reply"]})
), bucketed AS (
  SELECT person_id, rule, off, min(age) AS age, count(*) FILTER (age < 14 AND NOT off) AS gate
  FROM mapped WHERE rule IS NOT NULL
  GROUP BY person_id, rule, off, CASE WHEN rule IN (3, 8) THEN {week} WHEN rule = 5 THEN {month} ELSE day END
), meetings AS (
  SELECT person_id, 9 AS rule, off, age, 0 AS gate FROM known WHERE kind = {K["meeting"]}
  QUALIFY row_number() OVER (PARTITION BY person_id, off, {month} ORDER BY age) <= 2
), recency AS (
  SELECT person_id, 10 AS rule, off, min(age) AS age, 0 AS gate FROM known
  WHERE kind IN ({", ".join(map(str, recent))}) AND age < 30 GROUP BY person_id, off
), weighed AS (
  SELECT person_id, rule, off, gate, floor(CASE rule
      WHEN 1 THEN 40000 * pow(0.5, age / 150.0) WHEN 2 THEN 15000 * pow(0.5, age / 45.0)
      WHEN 3 THEN 8000 * pow(0.5, age / 45.0) WHEN 4 THEN 20000 * pow(0.5, age / 75.0)
      WHEN 5 THEN 15000 * pow(0.5, age / 100.0) WHEN 6 THEN 10000 * pow(0.5, age / 60.0)
      WHEN 7 THEN 3000 * pow(0.5, age / 30.0) WHEN 8 THEN 8000 * pow(0.5, age / 120.0)
      WHEN 9 THEN 20000 * pow(0.5, age / 180.0) ELSE 10000 END + 0.5)::BIGINT AS milli
  FROM (FROM bucketed UNION ALL FROM meetings UNION ALL FROM recency)
), by_rule AS (
  SELECT person_id, rule, sum(milli) FILTER (NOT off) AS clean, sum(milli) FILTER (off) AS held, sum(gate) AS gate
  FROM weighed GROUP BY person_id, rule
), capped AS (
  SELECT person_id, rule, least(coalesce(clean, 0), bound) AS clean, least(coalesce(held, 0), bound) AS held FROM (
    SELECT *, CASE rule WHEN 1 THEN 50000 WHEN 2 THEN 45000 WHEN 3 THEN 24000 WHEN 4 THEN 40000 WHEN 5 THEN 30000
      WHEN 6 THEN 20000 WHEN 7 THEN 9000 WHEN 8 THEN 24000 WHEN 9 THEN 40000 ELSE 10000 END AS bound FROM by_rule)
  WHERE rule <> 2 OR gate >= 2
), acts AS (
  SELECT person_id, sum(clean) FILTER (rule NOT IN (8, 9)) AS engagement, sum(clean) FILTER (rule IN (8, 9)) AS relationship,
         sum(held) AS held FROM capped GROUP BY person_id
), human AS (
  SELECT person_id, max(day) AS day, max(occurred_at) AS at FROM activity
  WHERE kind IN ({", ".join(map(str, human))}) AND NOT suspect AND occurred_at <= {as_of} AND known_at <= {as_of}
  GROUP BY person_id
), groups AS (
  SELECT company_id FROM person JOIN human USING (person_id) WHERE human.day > {today} - 90
  GROUP BY company_id HAVING count(*) >= 3
), deals AS (
  SELECT company_id, bool_or(won AND closed_day > {today} - 1095) AS won, bool_or(lost AND closed_day > {today} - 730) AS lost
  FROM deal WHERE created_at <= {as_of} AND closed_at <= {as_of} GROUP BY company_id
), sums AS (
  SELECT p.person_id, human.at AS last_human_at, coalesce(acts.held, 0) AS held,
    (CASE WHEN title_rank IN ('general_manager', 'director', 'executive') THEN 20000 ELSE 0 END
     + CASE WHEN title_rank IN ('section_manager', 'deputy_general_manager') THEN 10000 ELSE 0 END
     + CASE WHEN employees < 30 THEN 0 WHEN employees < 100 THEN 5000 WHEN employees < 1000 THEN 15000
            WHEN employees IS NULL THEN 0 ELSE 10000 END
     + CASE WHEN lower(industry) IN ({listed}) THEN 15000 ELSE 0 END
     + CASE WHEN contains(lower(company), '大学') OR contains(lower(company), '学校')
              OR lower(domain) IN ('competitor.example') THEN -30000 ELSE 0 END) AS fit,
    coalesce(acts.engagement, 0) AS engagement,
    coalesce(acts.relationship, 0) + CASE WHEN groups.company_id IS NOT NULL THEN 15000 ELSE 0 END
      + CASE WHEN deals.won THEN 15000 ELSE 0 END + CASE WHEN deals.lost THEN 8000 ELSE 0 END AS relationship
  FROM person p LEFT JOIN acts USING (person_id) LEFT JOIN human USING (person_id)
  LEFT JOIN groups ON groups.company_id = p.company_id LEFT JOIN deals ON deals.company_id = p.company_id
), parts AS (
  SELECT *, least((fit + 500) // 1000, 50) AS f, least((engagement + 500) // 1000, 60) AS e,
         least((relationship + 500) // 1000, 50) AS r FROM sums
)
SELECT person_id, greatest(0, least(100, f + e + r))::BIGINT AS total, (f + e + r)::BIGINT AS priority,
  ((held + 500) // 1000)::BIGINT AS withheld, last_human_at,
  CASE WHEN f + e + r >= 80 AND e >= 20 THEN 'A' WHEN f + e + r >= 50 THEN 'B' WHEN f + e + r >= 20 THEN 'C' ELSE 'D' END AS band
FROM parts
"""
