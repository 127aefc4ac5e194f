// Answers of Prometheus' API as data frames, in the form that Grafana's own data source gives them.
import { FieldType, createDataFrame } from '@grafana/data';

const NUMBERS = { '+Inf': Infinity, '-Inf': -Infinity, NaN: null };

const number = (text) => (text in NUMBERS ? NUMBERS[text] : Number(text));

const legend = (format, labels) => format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? '');

// One frame for each series of an answer to a query of this target.
function series(target, answer, step) {
  const points = answer.resultType === 'vector' ? (one) => [one.value] : (one) => one.values;
  return answer.result.map((one) => {
    const { __name__: name, ...labels } = one.metric;
    const shown = target.legendFormat === '__auto' ? name ?? target.expr : legend(target.legendFormat, labels);
    return createDataFrame({
      refId: target.refId,
      name: shown,
      fields: [
        { name: 'Time', type: FieldType.time, values: points(one).map(([time]) => time * 1000), config: { interval: step * 1000 } },
        {
          name: 'Value',
          type: FieldType.number,
          labels,
          values: points(one).map(([, value]) => number(value)),
          config: { displayNameFromDS: shown },
        },
      ],
    });
  });
}

// One frame with a column for each label. `several` is true where the panel has more queries than this one.
function rows(target, answer, several) {
  const labels = [...new Set(answer.result.flatMap((one) => Object.keys(one.metric)))].sort();
  return createDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: answer.result.map((one) => one.value[0] * 1000) },
      ...labels.map((name) => ({
        name,
        type: FieldType.string,
        values: answer.result.map((one) => one.metric[name] ?? ''),
      })),
      {
        name: several ? `Value #${target.refId}` : 'Value',
        type: FieldType.number,
        values: answer.result.map((one) => number(one.value[1])),
      },
    ],
  });
}

// The frames of a panel. `answers` has the `data` of each answer by the refId of its query; `step` is in seconds.
export function framesOf(panel, answers, step) {
  return panel.targets
    .flatMap((target) => {
      const answer = answers[target.refId];
      if (answer === undefined) throw new Error(`no answer to query ${target.refId}`);
      if (target.format === 'table') return [rows(target, answer, panel.targets.length > 1)];
      return series(target, answer, step);
    })
    .filter((frame) => frame.length > 0);
}

// The marks of an annotation whose values are times, each once.
export function marksOf(annotation, answer, from, to) {
  if (!annotation.useValueForTime) throw new Error(`annotation ${annotation.name}: only values that are times are drawn`);
  const times = new Map();
  for (const one of answer.result) {
    for (const [, value] of one.values) times.set(number(value), legend(annotation.textFormat, one.metric));
  }
  return [...times].filter(([time]) => from <= time && time <= to).map(([time, text]) => ({ time, text, color: annotation.iconColor }));
}
