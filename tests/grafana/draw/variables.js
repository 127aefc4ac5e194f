// Variables in texts and links, filled in as Grafana does it: those of the dashboard, of the time, and of a value.
import { getFieldDisplayName } from '@grafana/data';

const VARIABLE = /\$\{(\w+)(?:\.([^:}]+))?(?::([^}]+))?\}/g;

const FORMATS = {
  undefined: String,
  percentencode: encodeURIComponent,
  'date:iso': (value) => new Date(Number(value)).toISOString(),
};

function ofData(path, { field, frame, rowIndex }) {
  if (path.startsWith('field.labels.')) return (field.labels ?? {})[path.slice('field.labels.'.length)] ?? '';
  if (!path.startsWith('data.fields.')) return undefined;
  const name = path.slice('data.fields.'.length);
  const column = frame.fields.find((one) => one.name === name || getFieldDisplayName(one, frame) === name);
  return column?.values[rowIndex];
}

// A function that fills in. `chosen` has the values of the variables, and the ends of the time in milliseconds.
export const replacing = (chosen) => (text, scoped) =>
  text.replace(VARIABLE, (whole, name, path, format) => {
    if (!(format in FORMATS)) throw new Error(`a format that is not known: ${whole}`);
    const known = { ...chosen, __from: chosen.from, __to: chosen.to };
    const context = scoped?.__dataContext?.value;
    const value = path === undefined ? known[name] : context && ofData(`${name.slice(2)}.${path}`, context);
    if (value === undefined) throw new Error(`a variable that is not known: ${whole} in ${text}`);
    return FORMATS[format](value);
  });
