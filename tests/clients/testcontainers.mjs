// What tests do with testcontainers for Node. Its reaper's image is not to be had without the public hub.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { run, text } from './checks.mjs';

const require = createRequire(`${process.env.CLIENTS_NODE}/`);
const { GenericContainer, Network, Wait } = require('testcontainers');
const image = 'busybox:latest';
const server = ['sh', '-c', 'mkdir -p /www; echo page > /www/index.html; echo ready; exec httpd -f -p 8080 -h /www'];

const serving = (more = (container) => container) =>
  more(new GenericContainer(image).withCommand(server).withExposedPorts(8080));

async function using(container, work) {
  const started = await container.start();
  try {
    return await work(started);
  } finally {
    await started.stop();
  }
}

await run({
  async 'a port that listens is reached'() {
    await using(serving(), async (started) => {
      const page = await fetch(`http://${started.getHost()}:${started.getMappedPort(8080)}/`);
      assert.equal(await page.text(), 'page\n');
    });
  },
  async 'waiting for a line of the log'() {
    await using(serving((container) => container.withWaitStrategy(Wait.forLogMessage('ready'))), async (started) => {
      const logs = await started.logs();
      await new Promise((done) => logs.on('data', (line) => String(line).includes('ready') && done()));
    });
  },
  async 'waiting for an answer by HTTP'() {
    await using(serving((container) => container.withWaitStrategy(Wait.forHttp('/', 8080))), async () => {});
  },
  async 'waiting for health'() {
    const healthy = (container) => container
      .withHealthCheck({ test: ['CMD', 'test', '-e', '/www/index.html'], interval: 500, timeout: 3000, retries: 20, startPeriod: 0 })
      .withWaitStrategy(Wait.forHealthCheck());
    await using(serving(healthy), async () => {});
  },
  async 'waiting for the end'() {
    const container = new GenericContainer(image).withCommand(['true']).withWaitStrategy(Wait.forOneShotStartup());
    await using(container, async () => {});
  },
  async 'commands, environment, labels, user, directory'() {
    const configured = (container) => container.withEnvironment({ WHO: 'me' }).withLabels({ a: 'b' }).withUser('0:0').withWorkingDir('/tmp');
    await using(serving(configured), async (started) => {
      const { output, exitCode } = await started.exec(['sh', '-c', 'echo $WHO; pwd; exit 4']);
      assert.deepEqual([output, exitCode], ['me\n/tmp\n', 4]);
      assert.equal(started.getLabels().a, 'b');
    });
  },
  async 'files go in before and after the start'() {
    const filled = (container) => container.withCopyContentToContainer([{ content: 'early', target: '/early' }]);
    await using(serving(filled), async (started) => {
      await started.copyContentToContainer([{ content: 'late', target: '/late' }]);
      assert.equal((await started.exec(['cat', '/early', '/late'])).output, 'earlylate');
      assert.ok((await text(await started.copyArchiveFromContainer('/late'))).includes('late'));
    });
  },
  async 'containers on a network know each other'() {
    const network = await new Network().start();
    try {
      const member = (container) => container.withNetwork(network).withNetworkAliases('web');
      await using(serving(member), () =>
        using(serving((container) => container.withNetwork(network)), async (other) => {
          assert.equal((await other.exec(['wget', '-q', '-O-', 'http://web:8080/'])).output, 'page\n');
        }));
    } finally {
      await network.stop();
    }
  },
  async 'tmpfs, limits, capabilities, shared memory'() {
    const limited = (container) => container
      .withTmpFs({ '/scratch': 'rw,size=1m' })
      .withResourcesQuota({ memory: 0.1, cpu: 0.5 })
      .withAddedCapabilities('NET_ADMIN')
      .withUlimits({ nofile: { hard: 100, soft: 100 } })
      .withSharedMemorySize(1 << 20);
    await using(serving(limited), async (started) => {
      assert.equal((await started.exec(['sh', '-c', 'ulimit -n; grep -c scratch /proc/mounts'])).output, '100\n1\n');
    });
  },
  async 'a restart'() {
    await using(serving(), async (started) => {
      await started.restart();
      assert.equal((await started.exec(['cat', '/www/index.html'])).output, 'page\n');
    });
  },
});
