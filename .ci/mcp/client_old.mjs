// The official TypeScript SDK, first generation, as a client: both transports.
// usage: node client_old.mjs PROGRAM URL
import assert from 'node:assert/strict';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const [program, url] = process.argv.slice(2);
const transports = {
    stdio: new StdioClientTransport({ command: program, args: ['mcp'], env: process.env }),
    http: new StreamableHTTPClientTransport(new URL(url)),
};
for (const [name, transport] of Object.entries(transports)) {
    const client = new Client({ name: 'judge', version: '1' });
    await client.connect(transport);
    const { tools } = await client.listTools();
    assert.equal(tools.length, 9);
    const time = await client.callTool({ name: 'get_time', arguments: { timezone: 'UTC' } });
    assert.equal(time.structuredContent.trustworthy, true, JSON.stringify(time));
    const compared = await client.callTool({
        name: 'compare_times',
        arguments: { first: time.structuredContent, second: '2100-01-01T00:00:00Z' },
    });
    assert.equal(compared.structuredContent.relation, 'before');
    const heard = [];
    const until = new Date(Date.now() + 2500).toISOString();
    const waited = await client.callTool({ name: 'wait_until', arguments: { time: until } }, undefined, {
        onprogress: (progress) => heard.push(progress),
    });
    assert.ok(waited.structuredContent.reached && heard.length >= 2, JSON.stringify([waited, heard]));
    await client.subscribeResource({ uri: 'chronotick://status' });
    await client.unsubscribeResource({ uri: 'chronotick://status' });
    console.log(`TypeScript, first generation, over ${name}: ${heard.length} signs of progress`);
    await client.close();
}
