// The package's main file is an object where @grafana/ui expects a component: this is the component in it.
module.exports = require('../node_modules/@grafana/ui/node_modules/react-custom-scrollbars-2').Scrollbars;
