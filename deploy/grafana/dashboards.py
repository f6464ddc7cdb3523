"""The dashboards, written as what they show: `python deploy/grafana/dashboards.py` makes dashboards/*.json.

tests/deploy asks a running Prometheus each of their queries, and fails where the files say otherwise.
"""

import json
import sys
from pathlib import Path
from typing import Any

DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
WIDTH, HEIGHT = 24, 8


def panel(
    title: str, unit: str, *queries: tuple[str, str], kind: str = "timeseries", about: str = "", **more: Any
) -> dict[str, Any]:
    """queries: expression and legend of each. more: `width` of 24; `stacked`; `thresholds`, with colours."""
    custom = (
        {"stacking": {"mode": "normal"}, "fillOpacity": 30} if more.get("stacked") else {"fillOpacity": 5}
    )
    defaults: dict[str, Any] = {"unit": unit, "min": 0}
    if kind == "timeseries":
        defaults["custom"] = custom
    if steps := more.get("thresholds"):
        coloured = [{"value": None, "color": "green"}] + [
            {"value": at, "color": colour} for at, colour in steps
        ]
        defaults["thresholds"] = {"mode": "absolute", "steps": coloured}
    return {
        "title": title,
        "description": about,
        "type": kind,
        "datasource": DATASOURCE,
        "gridPos": {"w": more.get("width", 12), "h": 4 if kind == "stat" else HEIGHT},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": DATASOURCE,
                "expr": expression,
                "legendFormat": legend,
            }
            for number, (expression, legend) in enumerate(queries)
        ],
    }


def dashboard(name: str, title: str, *panels: dict[str, Any]) -> dict[str, Any]:
    """Panels from left to right, in rows."""
    x = y = 0
    placed = []
    for number, each in enumerate(panels, 1):
        size = each["gridPos"]
        if x + size["w"] > WIDTH:
            x, y = 0, y + placed[-1]["gridPos"]["h"]
        placed.append({"id": number, **each, "gridPos": {**size, "x": x, "y": y}})
        x += size["w"]
    return {
        "uid": f"phototwin-{name}",
        "title": title,
        "tags": ["phototwin"],
        "timezone": "browser",
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["phototwin"], "title": "phototwin", "asDropdown": False}],
        "panels": placed,
    }


def quantile(
    part: float, metric: str, by: str = "", matching: str = "", over: str = "$__rate_interval"
) -> str:
    of = f"sum by ({', '.join(filter(None, (by, 'le')))}) (rate({metric}_bucket{{{matching}}}[{over}]))"
    return f"histogram_quantile({part}, {of})"


def mean(metric: str, matching: str = "") -> str:
    one = f"sum by (stage) (rate({metric}_%s{{{matching}}}[$__rate_interval]))"
    return f"{one % 'sum'} / {one % 'count'}"


def per_hour(metric: str, by: str, matching: str = "") -> str:
    return f"3600 * sum by ({by}) (rate({metric}{{{matching}}}[$__rate_interval]))"


ENDED = "phototwin_gateway_capture_seconds"
DURATION, WAIT = "phototwin_job_duration_seconds", "phototwin_queue_wait_seconds"
REQUESTS = "phototwin_gateway_request_seconds"
EVENTS = "phototwin_gateway_events_total"
CPU = 'process_cpu_seconds_total{job="phototwin"}'
MEMORY = 'process_resident_memory_bytes{job="phototwin"}'
FAILING = f'sum(rate({REQUESTS}_count{{status=~"5.."}}[$__rate_interval])) or vector(0)'

OVERVIEW = dashboard(
    "overview",
    "phototwin: overview",
    panel(
        "Captures in the last hour",
        "short",
        (f'sum(increase({EVENTS}{{kind="dataset.uploaded"}}[1h]))', ""),
        kind="stat",
        width=4,
    ),
    panel(
        "Models in the last hour",
        "short",
        (f'sum(increase({EVENTS}{{kind="model.ready"}}[1h]))', ""),
        kind="stat",
        width=4,
    ),
    panel(
        "Late or failed, last hour",
        "percentunit",
        ("phototwin:slo_errors:ratio_rate1h", ""),
        kind="stat",
        width=4,
        thresholds=[(0.01, "orange"), (0.06, "red")],
        about="Of the interactive captures that were any good. The objective allows one in a hundred.",
    ),
    panel("Waiting", "short", ("sum(stage:phototwin_ready:sum)", ""), kind="stat", width=4),
    panel(
        "Dead letters",
        "short",
        ("sum(stage:phototwin_dead:sum)", ""),
        kind="stat",
        width=4,
        thresholds=[(1, "red")],
    ),
    panel(
        "Longest silence",
        "s",
        ("max(phototwin_gateway_quiet_seconds)", ""),
        kind="stat",
        width=4,
        thresholds=[(3600, "red")],
        about="For how long nothing was heard of the capture in work that has been silent for longest.",
    ),
    panel(
        "Captures an hour",
        "short",
        (f'3600 * sum(rate({EVENTS}{{kind="dataset.uploaded"}}[$__rate_interval]))', "uploaded"),
        (per_hour(f"{ENDED}_count", "outcome"), "{{outcome}}"),
        about="How first attempts ended: with a model, rejected for what was sent, or failed.",
    ),
    panel(
        "From upload to model",
        "s",
        (quantile(0.5, ENDED, "lane", 'outcome="model"'), "{{lane}} p50"),
        (quantile(0.95, ENDED, "lane", 'outcome="model"'), "{{lane}} p95"),
        about="The paper's T_preprocessing + T_reconstruction, packaging, and all waiting. "
        "T_scan and T_upload are the phone's.",
    ),
    panel(
        "Where the time goes: work (mean)",
        "s",
        (mean(DURATION, 'outcome="done"'), "{{stage}}"),
        stacked=True,
        about="prepare and segment are the paper's T_preprocessing, reconstruct its T_reconstruction; "
        "packaging comes on top.",
    ),
    panel("Where the time goes: waiting (mean)", "s", (mean(WAIT), "{{stage}}"), stacked=True),
    panel(
        "Failures an hour, by code",
        "short",
        (f"{per_hour('phototwin_gateway_captures_failed_total', 'code')} > 0", "{{code}}"),
        stacked=True,
    ),
    panel(
        "Given up an hour, by stage and code",
        "short",
        (f"{per_hour('phototwin_events_dead_lettered_total', 'stage, code')} > 0", "{{stage}} {{code}}"),
        stacked=True,
    ),
)

WORKERS = dashboard(
    "workers",
    "phototwin: workers",
    panel(
        "Waiting, by lane",
        "short",
        ('stage_lane:phototwin_ready:sum{lane!=""}', "{{stage}} {{lane}}"),
        stacked=True,
    ),
    panel(
        "Time until the queue is empty",
        "s",
        ("stage:phototwin_ready:sum / (stage:phototwin_results:rate5m > 0)", "{{stage}}"),
        about="At the pace of the last five minutes, if nothing else came.",
    ),
    panel(
        "Wait of interactive events",
        "s",
        (quantile(0.5, WAIT, "stage", 'lane="interactive"'), "{{stage}} p50"),
        (quantile(0.95, WAIT, "stage", 'lane="interactive"'), "{{stage}} p95"),
    ),
    panel(
        "Wait of bulk events",
        "s",
        (quantile(0.5, WAIT, "stage", 'lane="bulk"'), "{{stage}} p50"),
        (quantile(0.95, WAIT, "stage", 'lane="bulk"'), "{{stage}} p95"),
    ),
    panel(
        "Jobs being worked on",
        "short",
        ("sum by (stage) (phototwin_jobs_in_flight)", "{{stage}}"),
        ("sum by (stage) (stage:phototwin_unacked:sum)", "{{stage}}, by RabbitMQ"),
    ),
    panel("Processes", "short", ('sum by (service) (up{job="phototwin"})', "{{service}}")),
    panel(
        "A job takes",
        "s",
        (quantile(0.5, DURATION, "stage", 'outcome="done"'), "{{stage}} p50"),
        (quantile(0.95, DURATION, "stage", 'outcome="done"'), "{{stage}} p95"),
    ),
    panel(
        "Jobs an hour, by how they ended",
        "short",
        (per_hour(f"{DURATION}_count", "stage, outcome"), "{{stage}} {{outcome}}"),
        stacked=True,
    ),
    panel(
        "CPU: computations",
        "short",
        ("sum by (stage) (rate(phototwin_job_cpu_seconds_total[$__rate_interval]))", "{{stage}}"),
        about="Cores. Counted when a job is finished.",
        width=8,
    ),
    panel(
        "Memory: computations",
        "bytes",
        ("max by (stage) (phototwin_job_peak_memory_bytes)", "{{stage}}"),
        about="The peak of the latest job.",
        width=8,
    ),
    panel(
        "CPU and memory: shells",
        "short",
        (f"rate({CPU}[$__rate_interval])", "{{instance}} cores"),
        (f"{MEMORY} / 1e9", "{{instance}} GB"),
        width=8,
    ),
    panel(
        "Pauses in ten minutes, by reason",
        "short",
        ("sum by (stage, code) (increase(phototwin_stalls_total[10m])) > 0", "{{stage}} {{code}}"),
        stacked=True,
    ),
    panel(
        "Tried again an hour, by reason",
        "short",
        (per_hour("phototwin_events_retried_total", "stage, code"), "{{stage}} {{code}}"),
        stacked=True,
    ),
    panel(
        "Event loops are late by (p99)",
        "s",
        (quantile(0.99, "phototwin_loop_lag_seconds", "instance"), "{{instance}}"),
        width=8,
    ),
    panel(
        "Store: bytes",
        "Bps",
        (
            "sum by (stage, direction) (rate(phototwin_storage_bytes_total[$__rate_interval]))",
            "{{stage}} {{direction}}",
        ),
        width=8,
    ),
    panel(
        "Masks an hour, by verdict",
        "short",
        (per_hour("phototwin_masks_total", "segmenter, verdict"), "{{segmenter}} {{verdict}}"),
        stacked=True,
        width=8,
    ),
    panel(
        "GPUs at work",
        "percentunit",
        (
            "avg by (Hostname, gpu, GPU_I_ID) (DCGM_FI_PROF_GR_ENGINE_ACTIVE)",
            "{{Hostname}} {{gpu}} {{GPU_I_ID}}",
        ),
        about="By NVIDIA's dcgm-exporter; slices of MIG apart.",
    ),
    panel(
        "RabbitMQ: memory and disk that are left",
        "percentunit",
        (
            "1 - rabbitmq_process_resident_memory_bytes / rabbitmq_resident_memory_limit_bytes",
            "{{instance}} memory",
        ),
        (
            "1 - rabbitmq_disk_space_available_limit_bytes / rabbitmq_disk_space_available_bytes",
            "{{instance}} disk",
        ),
        about="At nothing it takes no more messages.",
    ),
)

GATEWAY = dashboard(
    "gateway",
    "phototwin: gateway",
    panel(
        "Requests a second, by status",
        "reqps",
        (f"sum by (status) (rate({REQUESTS}_count[$__rate_interval]))", "{{status}}"),
        stacked=True,
    ),
    panel("A request takes", "s", (quantile(0.5, REQUESTS), "p50"), (quantile(0.99, REQUESTS), "p99")),
    panel(
        "Slowest routes (p99)",
        "s",
        (f"topk(8, {quantile(0.99, REQUESTS, 'method, route')})", "{{method}} {{route}}"),
    ),
    panel(
        "Requests that fail",
        "percentunit",
        (
            f"({FAILING}) / sum(rate({REQUESTS}_count[$__rate_interval]))",
            "5xx",
        ),
    ),
    panel(
        "Clients that listen to events",
        "short",
        ("sum by (instance) (phototwin_gateway_listeners)", "{{instance}}"),
        stacked=True,
    ),
    panel(
        "Behind the workers",
        "s",
        ("phototwin_gateway_behind_seconds", "{{instance}}"),
        about="Age of the latest event when it was entered.",
    ),
    panel("Events entered an hour, by kind", "short", (per_hour(EVENTS, "kind"), "{{kind}}"), stacked=True),
    panel(
        "CPU and memory",
        "short",
        (
            f"rate({CPU}[$__rate_interval]) and on (instance) phototwin_gateway_listeners",
            "{{instance}} cores",
        ),
        (
            f"{MEMORY} / 1e9 and on (instance) phototwin_gateway_listeners",
            "{{instance}} GB",
        ),
    ),
)

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent / "dashboards"
    folder.mkdir(exist_ok=True)
    for made in (OVERVIEW, WORKERS, GATEWAY):
        name = made["uid"].removeprefix("phototwin-")
        (folder / f"{name}.json").write_text(json.dumps(made, indent=2) + "\n")
