"""Panels in the house's style: short constructors around the builders of Grafana's Foundation SDK."""

from dataclasses import dataclass

from grafana_foundation_sdk.builders import (
    bargauge, common, dashboard, heatmap, prometheus, stat, statetimeline, table, text, timeseries,
)
from grafana_foundation_sdk.models import common as c
from grafana_foundation_sdk.models import dashboard as d
from grafana_foundation_sdk.models import heatmap as h
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.text import TextMode

SOURCE = d.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, AMBER, RED, BLUE, PURPLE, YELLOW, GREY = "green", "orange", "red", "blue", "purple", "yellow", "text"

USD, PERCENT, SECONDS, PER_SECOND, COUNT = "currencyUSD", "percentunit", "s", "reqps", "short"


@dataclass(frozen=True)
class Query:
    expr: str
    legend: str = ""


def _targets(panel, queries, instant=False, form=PromQueryFormat.TIME_SERIES):
    for index, query in enumerate(queries):
        target = prometheus.Dataquery().expr(query.expr).ref_id(chr(ord("A") + index)).format(form).datasource(SOURCE)
        target = target.legend_format(query.legend or "__auto")
        panel.with_target(target.instant() if instant else target.range())
    return panel


def _about(panel, title, description, unit=None):
    panel.title(title).description(description)
    return panel.datasource(SOURCE).unit(unit) if unit else panel


def steps(base: str, *rest: tuple[float, str]):
    """Colours by value: one from the bottom, others from a value on."""
    return dashboard.ThresholdsConfig().mode(d.ThresholdsMode.ABSOLUTE).steps(
        [d.Threshold(None, base)] + [d.Threshold(value, color) for value, color in rest]
    )


def states(**names: tuple[str, str]):
    """Names and colours for numbers: `v0=("closed", "green")`."""
    options = {key[1:]: d.ValueMappingResult(text=name, color=color, index=at)
               for at, (key, (name, color)) in enumerate(names.items())}
    return [d.ValueMap(options)]


def number(title, description, unit, *queries, thresholds=None, nothing="no data", decimals=None, mappings=None,
           by_name=False):
    """One figure for the range that is looked at, or one for each series."""
    panel = _targets(_about(stat.Panel(), title, description, unit), queries, instant=True)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    panel.color_mode(c.BigValueColorMode.VALUE).graph_mode(c.BigValueGraphMode.NONE).no_value(nothing)
    # Beside each other, name and value are too small to read where there are several.
    panel.wide_layout(False).thresholds(thresholds or steps(GREY))
    if by_name:
        panel.text_mode(c.BigValueTextMode.NAME)
    if decimals is not None:
        panel.decimals(decimals)
    return panel.mappings(mappings) if mappings else panel


def lines(title, description, unit, *queries, stacked=False, thresholds=None, low=None, high=None, log=None, nothing="no data"):
    """`log` is the base of a logarithmic axis, for what spans orders of magnitude."""
    panel = _targets(_about(timeseries.Panel(), title, description, unit), queries)
    panel.line_width(1).fill_opacity(25 if stacked else 0).show_points(c.VisibilityMode.NEVER).no_value(nothing)
    panel.legend(common.VizLegendOptions().display_mode(c.LegendDisplayMode.LIST).placement(c.LegendPlacement.BOTTOM)
                 .show_legend(True).calcs([]))
    panel.tooltip(common.VizTooltipOptions().mode(c.TooltipDisplayMode.MULTI).sort(c.SortOrder.DESCENDING))
    if stacked:
        panel.stacking(common.StackingConfig().mode(c.StackingMode.NORMAL).group("A"))
    if thresholds:
        panel.thresholds(thresholds)
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(c.GraphThresholdsStyleMode.DASHED))
    if log:
        panel.scale_distribution(common.ScaleDistributionConfig().type(c.ScaleDistribution.LOG).log(log))
    if low is not None:
        panel.min(low)
    return panel if high is None else panel.max(high)


def _named(panel, regexp, option, value):
    return panel.override_by_regexp(f"/{regexp}/", [d.DynamicConfigValue(option, value)])


def colored(panel, **colors):
    """One colour for every series whose name begins with a key."""
    for name, color in colors.items():
        _named(panel, f"^{name}", "color", {"mode": "fixed", "fixedColor": color})
    return panel


def by_provider(panel):
    """The same colour for a provider in every panel."""
    return colored(panel, runpod=PURPLE, cerebras=AMBER, openai=BLUE)


def dashed(panel, regexp):
    return _named(panel, regexp, "custom.lineStyle", {"fill": "dash", "dash": [4, 6]})


def background(panel, regexp):
    """Dashed, grey and without a place in the legend: what lines are read against."""
    dashed(colored(panel, **{regexp.lstrip("^"): GREY}), regexp)
    return _named(panel, regexp, "custom.hideFrom", {"legend": True, "tooltip": False, "viz": False})


def wide(panel, regexp):
    return _named(panel, regexp, "custom.lineWidth", 2)


def on_the_right(panel, regexp):
    """An axis of their own for series of another size."""
    return _named(panel, regexp, "custom.axisPlacement", "right")


def columns(title, description, unit, labels: dict[str, str], values: dict[str, str], units: dict[str, str] | None = None):
    """A table: `labels` are the labels that make a row and their headings, `values` headings and their queries."""
    queries = [Query(expr) for expr in values.values()]
    panel = _targets(_about(table.Panel(), title, description, unit), queries, instant=True, form=PromQueryFormat.TABLE)
    fields = {f"Value #{chr(ord('A') + at)}": heading for at, heading in enumerate(values)}
    # So that six columns fit into half a page.
    panel.min_width(80)
    panel.with_transformation(d.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(d.DataTransformerConfig(id_val="organize", options={
        "excludeByName": {"Time": True},
        "indexByName": {name: at for at, name in enumerate([*labels, *fields])},
        "renameByName": {**labels, **fields},
    }))
    for heading, own in (units or {}).items():
        panel.override_by_name(heading, [d.DynamicConfigValue("unit", own)])
    return panel


def bars(title, description, unit, *queries, thresholds=None, high=None):
    panel = _targets(_about(bargauge.Panel(), title, description, unit), queries, instant=True)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    panel.display_mode(c.BarGaugeDisplayMode.BASIC).orientation(c.VizOrientation.HORIZONTAL).min(0)
    panel.thresholds(thresholds or steps(BLUE))
    return panel if high is None else panel.max(high)


def buckets(title, description, unit, query):
    """A heatmap of a histogram's buckets."""
    panel = _targets(_about(heatmap.Panel(), title, description, COUNT), [query], form=PromQueryFormat.HEATMAP)
    panel.calculate(False).y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(c.AxisPlacement.LEFT))
    return panel.color(heatmap.HeatmapColorOptions().mode(h.HeatmapColorMode.SCHEME).scheme("Blues").steps(32))


def timeline(title, description, unit, query, mappings):
    panel = _targets(_about(statetimeline.Panel(), title, description, unit), [query])
    panel.mappings(mappings).show_value(c.VisibilityMode.NEVER).merge_values(True).row_height(0.8).fill_opacity(80)
    panel.color_scheme(dashboard.FieldColor().mode(d.FieldColorModeId.THRESHOLDS)).thresholds(steps(GREY))
    return panel.legend(common.VizLegendOptions().display_mode(c.LegendDisplayMode.LIST)
                        .placement(c.LegendPlacement.BOTTOM).show_legend(True).calcs([]))


def note(title, description, content):
    return _about(text.Panel(), title, description).mode(TextMode.MARKDOWN).content(content)
