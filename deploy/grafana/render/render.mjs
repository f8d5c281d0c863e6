#!/usr/bin/env node
// Pictures of the dashboards without a Grafana server: its own React components in a headless browser, on live data.
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { basename, extname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const ICONS = join(HERE, 'node_modules/@grafana/ui/dist/public/img/icons');
const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const UNITS = { s: 1e3, m: 60e3, h: 3600e3, d: 86400e3 };
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' };

const USAGE = `usage: render.mjs --prometheus URL [option ...]

Draws each dashboard in a folder and writes one PNG for each. Run \`npm ci\` in this folder first.

  --prometheus URL       where the data is, for example http://127.0.0.1:9090
  --dashboards DIR       dashboard JSON files (default: ../dashboards beside this folder)
  --out DIR              where the pictures go (default: docs/images of this repository)
  --only NAME            one dashboard, by its file's name without .json
  --range DURATION       how far back, such as 8m (default: 30m)
  --to SECONDS           unix time of the range's end (default: now)
  --scrape DURATION      the data source's scrape interval (default: 15s)
  --variable NAME=VALUE  a variable's value; may be given more than once
  --width PIXELS         width of the panels' area (default: 1568)
  --scale FACTOR         device pixels for each pixel (default: 1)
  --chromium PATH        the browser (default: the system's)
  -h, --help             this text

Exit status: 0 all drawn, 1 nothing drawn, 2 drawn, but with problems: a panel type that cannot be drawn, a query
that failed, a panel without data. They are named on standard error and on the picture.
`;

function duration(text) {
  const [, count, unit] = /^(\d+)([smhd])$/.exec(text) ?? [];
  if (!unit) {
    throw new Error(`not a duration: ${text}`);
  }
  return count * UNITS[unit];
}

function readArguments() {
  const text = { type: 'string' };
  const { values } = parseArgs({
    options: {
      prometheus: text,
      dashboards: { ...text, default: join(HERE, '../dashboards') },
      out: { ...text, default: join(HERE, '../../../docs/images') },
      only: text,
      range: { ...text, default: '30m' },
      to: { ...text, default: String(Date.now() / 1000) },
      scrape: { ...text, default: '15s' },
      variable: { ...text, multiple: true, default: [] },
      width: { ...text, default: '1568' },
      scale: { ...text, default: '1' },
      chromium: { ...text, default: BROWSERS.find(existsSync) },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (!values.help && !values.prometheus) {
    throw new Error('--prometheus is missing');
  }
  if (!values.help && !values.chromium) {
    throw new Error('no Chromium found: install it, or say where it is with --chromium');
  }
  return values;
}

// Built again only when a source is newer than what was built.
async function build() {
  const sources = (await readdir(join(HERE, 'src'), { recursive: true })).map((name) => join('src', name));
  const times = await Promise.all(
    ['index.html', 'package-lock.json', ...sources].map(async (name) => (await stat(join(HERE, name))).mtimeMs)
  );
  const built = join(HERE, 'dist/index.html');
  if (existsSync(built) && (await stat(built)).mtimeMs > Math.max(...times)) {
    return;
  }
  const vite = await import('vite');
  const { default: react } = await import('@vitejs/plugin-react');
  await vite.build({
    root: HERE,
    configFile: false,
    logLevel: 'error',
    plugins: [react()],
    build: { chunkSizeWarningLimit: Infinity, emptyOutDir: true },
  });
}

async function send(response, path) {
  response.setHeader('content-type', TYPES[extname(path)] ?? 'application/octet-stream');
  response.end(await readFile(path));
}

async function summaries(folder, names) {
  const all = await Promise.all(names.map(async (name) => JSON.parse(await readFile(join(folder, `${name}.json`)))));
  return JSON.stringify(all.map(({ title, tags }) => ({ title, tags: tags ?? [] })));
}

function forward(prometheus, url, response) {
  const target = new URL(url, prometheus.endsWith('/') ? prometheus : `${prometheus}/`);
  request(target, (answer) => {
    response.writeHead(answer.statusCode, { 'content-type': 'application/json' });
    answer.pipe(response);
  })
    .on('error', (error) => response.writeHead(502).end(JSON.stringify({ status: 'error', error: error.message })))
    .end();
}

function serve(values, names) {
  const server = createServer(async ({ url }, response) => {
    const path = decodeURIComponent(url.split('?')[0]);
    try {
      if (path.startsWith('/prometheus/')) {
        forward(values.prometheus, url.slice('/prometheus/'.length), response);
      } else if (path === '/dashboards') {
        response.end(await summaries(values.dashboards, names));
      } else if (path.startsWith('/dashboards/')) {
        await send(response, join(values.dashboards, `${basename(path)}.json`));
      } else if (path.startsWith('/public/build/img/icons/')) {
        await send(response, join(ICONS, path.slice('/public/build/img/icons/'.length)));
      } else {
        await send(response, join(HERE, 'dist', path === '/' ? 'index.html' : path));
      }
    } catch {
      response.writeHead(404).end();
    }
  });
  return new Promise((ready) => server.listen(0, '127.0.0.1', () => ready(server)));
}

async function picture(browser, address, file) {
  const page = await browser.newPage();
  const said = [];
  page.on('pageerror', (error) => said.push(error.message));
  await page.goto(address);
  await page.waitForFunction('window.pictureReady', { timeout: 120e3 });
  const { problems, fatal } = await page.evaluate('window.pictureReady');
  if (fatal) {
    throw new Error(fatal);
  }
  const dashboard = await page.$('#dashboard');
  const { height } = await dashboard.boundingBox();
  await page.setViewport({ ...page.viewport(), height: Math.ceil(height) });
  await dashboard.screenshot({ path: file });
  await page.close();
  return [...problems, ...said];
}

async function main() {
  const values = readArguments();
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const to = Math.round(Number(values.to) * 1000);
  const names = (await readdir(values.dashboards)).filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -5));
  const variables = Object.fromEntries(values.variable.map((text) => text.split(/=(.*)/s, 2)));
  await build();
  await mkdir(values.out, { recursive: true });
  const { default: puppeteer } = await import('puppeteer-core');
  const server = await serve(values, names);
  const browser = await puppeteer.launch({
    executablePath: values.chromium,
    args: ['--no-sandbox', '--font-render-hinting=none'],
    defaultViewport: { width: Number(values.width) + 32, height: 2000, deviceScaleFactor: Number(values.scale) },
  });
  let status = 0;
  try {
    for (const dashboard of names.filter((name) => !values.only || name === values.only)) {
      const query = new URLSearchParams({
        dashboard,
        from: to - duration(values.range),
        to,
        scrape: duration(values.scrape),
        width: values.width,
        variables: JSON.stringify(variables),
      });
      const file = resolve(values.out, `${dashboard}.png`);
      const problems = await picture(browser, `http://127.0.0.1:${server.address().port}/?${query}`, file);
      console.log(file);
      for (const problem of problems) {
        console.error(`${dashboard}: ${problem}`);
        status = 2;
      }
    }
  } finally {
    await browser.close();
    server.close();
  }
  return status;
}

main().then(
  (status) => (process.exitCode = status),
  (error) => {
    console.error(`render.mjs: ${error.message}`);
    process.exitCode = 1;
  }
);
