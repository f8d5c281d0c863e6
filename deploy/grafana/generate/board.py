"""A dashboard with what all of ours share: variables, links, the marks of reloads, and the layout."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as d

from panels import SOURCE
from promql import series

TAG = "llm-router"


class _AtValue(dashboard.AnnotationQuery):
    """Marks at the times that are the values; changes between two steps would stand late, and as bands."""

    def build(self):
        query = super().build()
        plain = query.to_json()
        query.to_json = lambda: {**plain, "useValueForTime": True, "step": "15s"}
        return query


def _query_variable(name, label, description, query):
    return (
        dashboard.QueryVariable(name).label(label).description(description).query(query).datasource(SOURCE)
        .refresh(d.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(d.VariableSort.ALPHABETICAL_ASC)
    )


def any_of(name, label, description, query):
    """A variable of which several or all can be chosen."""
    every = d.VariableOption(selected=True, text="All", value="$__all")
    return _query_variable(name, label, description, query).multi(True).include_all(True).all_value(".+").current(every)


def one_of(name, label, description, query, first):
    chosen = d.VariableOption(selected=True, text=first, value=first)
    return _query_variable(name, label, description, query).current(chosen)


def model():
    return any_of("model", "Model", "Public model names.", f"label_values({series('llmrouter_weight_ratio')}, model)")


def provider():
    return any_of("provider", "Provider", "Kinds of upstream. A request that reached none has `none` and shows under All only.",
                  f"label_values({series('llmrouter_provider_up')}, provider)")


class Board:
    """Panels are added from left to right and wrap at 24 columns."""

    def __init__(self, uid, title, description, since, *variables):
        self._panels = 0
        self._board = (
            dashboard.Dashboard(title).uid(uid).description(description).tags([TAG]).readonly().timezone("browser")
            .time(since, "now").refresh("30s").tooltip(d.DashboardCursorSync.CROSSHAIR)
            .annotation(
                _AtValue().name("Configuration in force changed").datasource(SOURCE).enable(True).icon_color("purple")
                .expr(f"{series('llmrouter_config_last_reload_success_timestamp_seconds')} * 1000")
            )
            .link(
                dashboard.DashboardLink("llm-router").type(d.DashboardLinkType.DASHBOARDS).tags([TAG])
                .include_vars(True).keep_time(True)
            )
            .with_variable(
                dashboard.DatasourceVariable("datasource").label("Data source").description("A Prometheus.").type("prometheus")
                .current(d.VariableOption(selected=True, text="default", value="default"))
            )
            .with_variable(any_of("job", "Job", "Scrape jobs of llm-router.", "label_values(llmrouter_build_info, job)"))
        )
        for variable in variables:
            self._board.with_variable(variable)

    def link(self, title, tooltip, url):
        self._board.link(dashboard.DashboardLink(title).type(d.DashboardLinkType.LINK).url(url).tooltip(tooltip).icon("clock"))

    def row(self, title):
        self._panels += 1
        self._board.with_row(dashboard.Row(title).id(self._panels))

    def add(self, width, height, *panels):
        for panel in panels:
            self._panels += 1
            self._board.with_panel(panel.id(self._panels).span(width).height(height))

    def build(self):
        return self._board.build()
