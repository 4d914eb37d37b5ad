// A Vendure shop on SQLite, durable as ours is (write-ahead log, synchronous FULL). `node server.js DATA PRODUCTS` sets
// it up in the folder DATA with that many products, once, and serves it on a free port, which it prints, until standard
// input ends. Jobs run in memory, without a search index: less work than a shop in production has.
'use strict';

// It tells nobody that it was here, and leaves no file for that where it is started.
process.env.VENDURE_DISABLE_TELEMETRY = 'true';

const fs = require('node:fs');
const path = require('node:path');
const net = require('node:net');
const { bootstrap, DefaultLogger, dummyPaymentHandler, LanguageCode, LogLevel } = require('@vendure/core');
const { populate } = require('@vendure/core/cli');

const [data, products] = [process.argv[2], Number(process.argv[3])];
const database = path.join(data, 'vendure.sqlite');

const config = (port, synchronize) => ({
    apiOptions: { port, hostname: '127.0.0.1', adminApiPath: 'admin-api', shopApiPath: 'shop-api' },
    authOptions: { tokenMethod: ['bearer'] },
    dbConnectionOptions: {
        type: 'better-sqlite3',
        database,
        synchronize,
        logging: false,
        prepareDatabase: (connection) => {
            connection.pragma('journal_mode = WAL');
            connection.pragma('synchronous = FULL');
        },
    },
    importExportOptions: { importAssetsDir: data },
    logger: new DefaultLogger({ level: LogLevel.Error, timestamp: false }),
    paymentOptions: { paymentMethodHandlers: [dummyPaymentHandler] },
    plugins: [],
});

const initialData = {
    defaultLanguage: LanguageCode.en,
    defaultZone: 'Europe',
    countries: [{ code: 'GB', name: 'United Kingdom', zone: 'Europe' }],
    taxRates: [{ name: 'Standard Tax', percentage: 20 }],
    shippingMethods: [{ name: 'Standard Shipping', price: 500 }],
    paymentMethods: [
        {
            name: 'Dummy Payment',
            handler: { code: dummyPaymentHandler.code, arguments: [{ name: 'automaticSettle', value: 'true' }] },
        },
    ],
    collections: [],
};

function productsCsv() {
    const head =
        'name,slug,description,assets,facets,optionGroups,optionValues,sku,price,taxCategory,stockOnHand,trackInventory,variantAssets,variantFacets';
    const description =
        'Light and grippy, for soft ground and long days. Drains fast, dries overnight. Runs half a size small.';
    const lines = Array.from(
        { length: products },
        (_, number) =>
            `Trail running shoe ${number},shoe-${number},"${description}",,category:Shoes,,,S${number},129.99,standard,1000000000,true,,`,
    );
    return [head, ...lines, ''].join('\n');
}

function freePort() {
    return new Promise((resolve, reject) => {
        const probe = net.createServer().once('error', reject);
        probe.listen(0, '127.0.0.1', () => {
            const { port } = probe.address();
            probe.close(() => resolve(port));
        });
    });
}

async function main() {
    fs.mkdirSync(data, { recursive: true });
    const port = await freePort();
    if (!fs.existsSync(database)) {
        const csv = path.join(data, 'products.csv');
        fs.writeFileSync(csv, productsCsv());
        const app = await populate(() => bootstrap(config(port, true)), initialData, csv);
        await app.close();
    }
    await bootstrap(config(port, false));
    process.stdin.resume().on('end', () => process.exit(0));
    process.stdout.write(`127.0.0.1:${port}\n`);
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
