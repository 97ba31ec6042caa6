// The official TypeScript SDK, second generation, as a client: both eras, both transports, and a subscription.
// usage: node client_new.mjs PROGRAM URL
import assert from 'node:assert/strict';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

const [program, url] = process.argv.slice(2);
const transports = {
    stdio: () => new StdioClientTransport({ command: program, args: ['mcp'], env: process.env }),
    http: () => new StreamableHTTPClientTransport(new URL(url)),
};
for (const [name, transport] of Object.entries(transports)) {
    for (const mode of [{ pin: '2026-07-28' }, 'legacy']) {
        const client = new Client({ name: 'judge', version: '1' }, { versionNegotiation: { mode } });
        await client.connect(transport());
        const { tools } = await client.listTools();
        assert.equal(tools.length, 9);
        const time = await client.callTool({ name: 'get_time', arguments: {} });
        assert.equal(time.structuredContent.trustworthy, true, JSON.stringify(time));
        const refused = await client.callTool({ name: 'wait_until', arguments: { time: 'soon' } });
        assert.ok(refused.isError && refused.content[0].text.includes('RFC 3339'));
        const zones = await client.complete({
            ref: { type: 'ref/resource', uri: 'chronotick://time/{tz}' },
            argument: { name: 'tz', value: 'berl' },
        });
        assert.deepEqual(zones.completion.values, ['Europe/Berlin']);
        const { contents } = await client.readResource({ uri: 'chronotick://time/Europe%2FBerlin' });
        assert.equal(JSON.parse(contents[0].text).timezone, 'Europe/Berlin');
        if (mode !== 'legacy') {
            const subscription = await client.listen({ resourceSubscriptions: ['chronotick://status'] });
            await subscription.close();
        }
        console.log(`TypeScript ${JSON.stringify(mode)} over ${name}: answered and refused as promised`);
        await client.close();
    }
}
