// Panels of the three kinds that our dashboards use, drawn by Grafana's components as its server's plugins use them.
import {
  FieldType,
  applyFieldOverrides,
  cacheFieldDisplayNames,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  standardTransformers,
  transformDataFrame,
  VizOrientation,
} from '@grafana/data';
import { BigValue, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { firstValueFrom } from 'rxjs';
import { settingsOf } from './settings.js';

// Vertical lines over the graph, as Grafana draws annotations.
function drawMarks(marks, theme) {
  return (config) => {
    config.addHook('draw', (plot) => {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.setLineDash([5 * devicePixelRatio, 5 * devicePixelRatio]);
      ctx.lineWidth = 2 * devicePixelRatio;
      for (const { time, color } of marks) {
        const x = Math.round(plot.valToPos(time, 'x', true));
        ctx.strokeStyle = ctx.fillStyle = theme.visualization.getColorByName(color);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        const size = 5 * devicePixelRatio;
        ctx.beginPath();
        ctx.moveTo(x - size, bbox.top + bbox.height + size);
        ctx.lineTo(x + size, bbox.top + bbox.height + size);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.fill();
      }
      ctx.restore();
    });
    return null;
  };
}

function Series({ panel, frames, width, height, marks, theme, timeRange }) {
  return (
    <TimeSeries
      frames={frames}
      width={width}
      height={height}
      timeRange={timeRange}
      timeZone="utc"
      legend={panel.options.legend}
      options={panel.options}
    >
      {drawMarks(marks, theme)}
    </TimeSeries>
  );
}

function Stat({ panel, frames, width, height, theme, replaced }) {
  const { options } = panel;
  const values = getFieldDisplayValues({
    data: frames,
    reduceOptions: options.reduceOptions,
    fieldConfig: panel.fieldConfig,
    replaceVariables: replaced,
    sparkline: options.graphMode !== 'none',
    theme,
    timeZone: 'utc',
  });
  return (
    <VizRepeater
      getValues={() => values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      width={width}
      height={height}
      source={frames}
      renderCounter={1}
      autoGrid
      orientation={VizOrientation.Auto}
      renderValue={({ value, alignmentFactors, width, height, count }) => (
        <BigValue
          value={value.display}
          count={count}
          sparkline={value.sparkline}
          alignmentFactors={alignmentFactors}
          width={width}
          height={height}
          theme={theme}
          colorMode={options.colorMode}
          graphMode={options.graphMode}
          justifyMode={options.justifyMode}
          textMode={options.textMode}
          percentChangeColorMode={options.percentChangeColorMode}
        />
      )}
    />
  );
}

function Rows({ panel, frames, width, height, timeRange }) {
  if (frames.length !== 1) throw new Error(`a table of ${frames.length} frames`);
  const { options } = panel;
  return (
    <TableNG
      data={frames[0]}
      width={width}
      height={height}
      noHeader={!options.showHeader}
      cellHeight={options.cellHeight}
      sortBy={options.sortBy}
      timeRange={timeRange}
      fieldConfig={panel.fieldConfig}
      noValue={panel.fieldConfig.defaults.noValue}
      enableVirtualization={false}
    />
  );
}

const KINDS = { timeseries: Series, stat: Stat, table: Rows };

const TRANSFORMERS = { merge: standardTransformers.mergeTransformer, organize: standardTransformers.organizeFieldsTransformer };

async function transformed(panel, frames) {
  const context = { interpolate: (text) => text };
  let found = frames;
  for (const { id, options } of panel.transformations ?? []) {
    const transformer = TRANSFORMERS[id];
    if (transformer === undefined) throw new Error(`a transformation that cannot be drawn: ${id}`);
    const all = { ...transformer.defaultOptions, ...options };
    found = await firstValueFrom(transformDataFrame([() => (source) => source.pipe(transformer.operator(all, context))], found));
  }
  return found;
}

// What a panel shows: its frames with every setting applied, and the component that draws them.
export async function prepared(panel, frames, theme, replaced) {
  const Kind = KINDS[panel.type];
  if (Kind === undefined) throw new Error(`a kind of panel that cannot be drawn: ${panel.type}`);
  const data = applyFieldOverrides({
    data: await transformed(panel, frames),
    fieldConfig: panel.fieldConfig,
    fieldConfigRegistry: settingsOf(panel),
    replaceVariables: replaced,
    theme,
    timeZone: 'utc',
  });
  cacheFieldDisplayNames(data);
  const shown = data.some((frame) => frame.fields.some((field) => field.type !== FieldType.time && field.values.some(isThere)));
  return { panel, frames: data, Kind, empty: !shown };
}

const isThere = (value) => value !== null && value !== undefined && value !== '' && !Number.isNaN(value);

// The addresses that the panel's values link to.
export function linksOf({ panel, frames }) {
  const found = new Set();
  for (const frame of frames) {
    // Of a graph, all points of a series link to the same.
    const rows = panel.type === 'table' ? frame.length : Math.min(frame.length, 1);
    for (const field of frame.fields.filter((one) => one.type !== FieldType.time)) {
      for (let row = 0; row < rows; row++) {
        for (const link of field.getLinks({ valueRowIndex: row })) found.add(link.href);
      }
    }
  }
  return [...found];
}
