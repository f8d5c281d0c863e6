// A dashboard as Grafana lays it out: a header, and panels on a grid of 24 columns.
import { dateTimeFormat } from '@grafana/data';
import { Icon, PanelChrome, useTheme2 } from '@grafana/ui';
import { withDefaults, withFieldConfig } from './data.js';
import { panels } from './panels/index.js';
import { substitute } from './variables.js';

const COLUMNS = 24;
const ROW_HEIGHT = 30;
const GAP = 8;

export const columnWidth = (width) => (width - (COLUMNS - 1) * GAP) / COLUMNS;
export const panelWidth = (columns, width) => columns * columnWidth(width) + (columns - 1) * GAP;
const panelHeight = (rows) => rows * ROW_HEIGHT + (rows - 1) * GAP;

const Notice = ({ children }) => {
  const theme = useTheme2();
  return (
    <div style={{ height: '100%', display: 'grid', placeItems: 'center', textAlign: 'center', color: theme.colors.text.secondary }}>
      {children}
    </div>
  );
};

function Content({ panel, loaded, view, width, height }) {
  const theme = useTheme2();
  const kind = panels[panel.type];
  if (!kind) {
    return <Notice>Panel type “{panel.type}” cannot be drawn here</Notice>;
  }
  if (panel.targets?.length && loaded.empty && !kind.drawsNothing) {
    return <Notice>{panel.fieldConfig?.defaults.noValue ?? 'No data'}</Notice>;
  }
  const complete = withDefaults(panel, kind.defaults ?? {});
  return (
    <kind.Panel
      panel={complete}
      frames={withFieldConfig(complete, loaded.frames, { ...view, theme })}
      width={width}
      height={height}
      theme={theme}
      timeRange={view.timeRange}
      annotations={loaded.annotations}
      substituteText={(text) => substitute(text, view.variables, 'text')}
    />
  );
}

function Row({ title, collapsed }) {
  const theme = useTheme2();
  return (
    <div style={{ display: 'flex', alignItems: 'center', gap: 8, height: ROW_HEIGHT, fontSize: theme.typography.h5.fontSize }}>
      <Icon name={collapsed ? 'angle-right' : 'angle-down'} />
      <strong style={{ fontWeight: 500 }}>{title}</strong>
    </div>
  );
}

function Box({ label, children }) {
  const theme = useTheme2();
  const border = `1px solid ${theme.colors.border.weak}`;
  const cell = { padding: '0 8px', height: 32, lineHeight: '30px', border, fontSize: 12, whiteSpace: 'nowrap' };
  return (
    <span style={{ display: 'inline-flex' }}>
      {label && <span style={{ ...cell, fontWeight: 500, background: theme.colors.background.secondary }}>{label}</span>}
      <span style={{ ...cell, background: theme.components.input.background }}>{children}</span>
    </span>
  );
}

function Header({ dashboard, shown, view, links }) {
  const [from, to] = [view.from, view.to].map((at) => dateTimeFormat(at, { timeZone: 'utc' }));
  const line = { display: 'flex', flexWrap: 'wrap', gap: 8, alignItems: 'center', marginBottom: 8 };
  return (
    <>
      <div style={line}>
        <h1 style={{ flex: 1, margin: 0, fontSize: 18 }}>{dashboard.title}</h1>
        <Box>
          <Icon name="clock-nine" /> {from} to {to} UTC
        </Box>
      </div>
      <div style={line}>
        {shown.map(({ label, text }) => (
          <Box key={label} label={label}>
            {text} <Icon name="angle-down" />
          </Box>
        ))}
        <span style={{ display: 'flex', gap: 8, marginLeft: 'auto' }}>
          {links.map((title) => (
            <Box key={title}>
              <Icon name="external-link-alt" /> {title}
            </Box>
          ))}
        </span>
      </div>
    </>
  );
}

export function Dashboard({ dashboard, shown, links, loaded, view, width }) {
  const step = columnWidth(width) + GAP;
  const bottom = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  return (
    <div id="dashboard" style={{ width: width + 32, padding: 16 }}>
      <Header dashboard={dashboard} shown={shown} view={view} links={links} />
      <div style={{ position: 'relative', height: panelHeight(bottom) }}>
        {dashboard.panels.map((panel) => {
          const { x, y, w, h } = panel.gridPos;
          const size = { width: panelWidth(w, width), height: panelHeight(h) };
          return (
            <div key={panel.id} style={{ position: 'absolute', left: x * step, top: y * (ROW_HEIGHT + GAP), ...size }}>
              {panel.type === 'row' ? (
                <Row title={panel.title} collapsed={panel.collapsed} />
              ) : (
                <PanelChrome
                  {...size}
                  title={substitute(panel.title ?? '', view.variables, 'text')}
                  description={panel.description}
                  displayMode={panel.transparent ? 'transparent' : 'default'}
                  hoverHeader={!panel.title}
                  statusMessage={loaded[panel.id]?.errors.join('; ')}
                >
                  {(innerWidth, innerHeight) => (
                    <Content panel={panel} loaded={loaded[panel.id]} view={view} width={innerWidth} height={innerHeight} />
                  )}
                </PanelChrome>
              )}
            </div>
          );
        })}
      </div>
    </div>
  );
}
