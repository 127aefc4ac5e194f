// A whole dashboard as a page: `window.draw(input)` with the dashboard's JSON, the answers to its queries, the time that
// is shown and the theme. Resolves to what was drawn once it is on the screen; whatever cannot be drawn is an error.
import { createTheme, dateTime, locationUtil } from '@grafana/data';
import { GlobalStyles, PanelChrome, ThemeContext } from '@grafana/ui';
import { useEffect } from 'react';
import { flushSync } from 'react-dom';
import { createRoot } from 'react-dom/client';
import { framesOf, marksOf } from './frames.js';
import { linksOf, prepared } from './panels.jsx';
import { registerStandard } from './settings.js';
import { replacing } from './variables.js';

const CELL = 30;
const GAP = 8;
const EDGE = 16;

function Bar({ dashboard, theme, chosen, span }) {
  const { colors, shape, typography } = theme;
  const box = { border: `1px solid ${colors.border.medium}`, borderRadius: shape.radius.default, padding: '5px 10px', background: colors.background.primary };
  const shown = dashboard.templating.list.filter((variable) => variable.hide === 0);
  return (
    <div style={{ display: 'flex', flexWrap: 'wrap', gap: GAP, alignItems: 'center', paddingBottom: GAP }}>
      <div style={{ ...typography.h4, marginRight: 12 }}>{dashboard.title}</div>
      {shown.map((variable) => (
        <div key={variable.name} style={{ display: 'flex', ...typography.bodySmall }}>
          <div style={{ ...box, color: colors.text.secondary, borderRight: 0 }}>{variable.label}</div>
          <div style={box}>{chosen[variable.name] ?? 'All'}</div>
        </div>
      ))}
      <div style={{ ...box, ...typography.bodySmall, marginLeft: 'auto' }}>{span}</div>
    </div>
  );
}

function Nothing({ text, theme }) {
  const place = { display: 'flex', height: '100%', alignItems: 'center', justifyContent: 'center', textAlign: 'center' };
  return <div style={{ ...place, color: theme.colors.text.secondary }}>{text}</div>;
}

function Panel({ shown, rest }) {
  const { panel, empty, Kind } = shown;
  return (
    <PanelChrome title={panel.title} description={panel.description} padding={panel.type === 'table' ? 'none' : 'md'} width={shown.width} height={shown.height}>
      {(width, height) =>
        empty && panel.type !== 'stat' ? (
          <Nothing text={panel.fieldConfig.defaults.noValue || 'No data'} theme={rest.theme} />
        ) : (
          <Kind panel={panel} frames={shown.frames} width={width} height={height} {...rest} />
        )
      }
    </PanelChrome>
  );
}

function Page({ dashboard, panels, width, drawn, chosen, span, ...rest }) {
  useEffect(() => {
    // Graphs and tables measure themselves after they were put in: two frames later all of it stands.
    document.fonts.ready.then(() => requestAnimationFrame(() => requestAnimationFrame(drawn)));
  }, [drawn]);
  const { theme } = rest;
  const column = (width + GAP) / 24;
  const bottom = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  const placeOf = ({ x, y, w, h }) => ({
    position: 'absolute',
    left: Math.round(x * column),
    top: y * (CELL + GAP),
    width: Math.round(w * column) - GAP,
    height: h * (CELL + GAP) - GAP,
  });
  return (
    <div style={{ width: width + 2 * EDGE, padding: EDGE, background: theme.colors.background.canvas, color: theme.colors.text.primary }}>
      <Bar dashboard={dashboard} theme={theme} chosen={chosen} span={span} />
      <div style={{ position: 'relative', height: bottom * (CELL + GAP) - GAP }}>
        {dashboard.panels.map((panel) => {
          const place = placeOf(panel.gridPos);
          if (panel.type === 'row') {
            return (
              <div key={panel.id} style={{ ...place, ...theme.typography.h5, display: 'flex', alignItems: 'center' }}>
                {panel.title}
              </div>
            );
          }
          return (
            <div key={panel.id} style={place} data-panel={panel.id}>
              <Panel shown={{ ...panels[panel.id], width: place.width, height: place.height }} rest={rest} />
            </div>
          );
        })}
      </div>
    </div>
  );
}

window.draw = async ({ dashboard, answers, marks, from, to, step, theme: name, width, chosen }) => {
  registerStandard();
  locationUtil.initialize({ config: { appSubUrl: '' }, getVariablesUrlParams: () => ({}), getTimeRangeForUrl: () => ({ from, to }) });
  const theme = createTheme({ colors: { mode: name } });
  const timeRange = { from: dateTime(from), to: dateTime(to), raw: { from: dateTime(from), to: dateTime(to) } };
  const span = `${new Date(from).toISOString().slice(0, 19).replace('T', ' ')} to ${new Date(to).toISOString().slice(11, 19)} UTC`;
  const replaced = replacing({ ...chosen, from, to });
  const allMarks = dashboard.annotations.list.flatMap((one) => marksOf(one, marks[one.name], from, to));
  const panels = {};
  for (const panel of dashboard.panels.filter((one) => one.type !== 'row')) {
    try {
      panels[panel.id] = await prepared(panel, framesOf(panel, answers[panel.id], step), theme, replaced);
    } catch (error) {
      throw new Error(`panel ${panel.id} (${panel.title}): ${error.message}`);
    }
  }
  document.body.style.background = theme.colors.background.canvas;
  await new Promise((drawn, failed) => {
    const root = createRoot(document.getElementById('page'), { onUncaughtError: failed });
    const styled = (page) => (
      <ThemeContext.Provider value={theme}>
        <GlobalStyles hackNoBackdropBlur />
        {page}
      </ThemeContext.Provider>
    );
    // Graphs measure their letters, so the fonts come first.
    flushSync(() => root.render(styled(null)));
    Promise.all(['400 12px Inter', '500 12px Inter'].map((font) => document.fonts.load(font))).then(() =>
      root.render(styled(<Page {...{ dashboard, panels, width, drawn, chosen, span, marks: allMarks, theme, timeRange, replaced }} />)),
    );
  });
  return {
    marks: allMarks.length,
    panels: Object.values(panels).map((shown) => ({
      id: shown.panel.id,
      title: shown.panel.title,
      empty: shown.empty,
      links: linksOf(shown),
    })),
  };
};
