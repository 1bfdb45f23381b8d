// What programs do with dockerode: every kind of call it has, on the daemon of $DOCKER_HOST.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { PassThrough } from 'node:stream';
import { run, text } from './checks.mjs';

const require = createRequire(`${process.env.CLIENTS_NODE}/`);
const Docker = require('dockerode');
const tar = require('tar-stream');
const docker = new Docker();
const image = 'busybox:latest';
const sleeper = { Image: image, Cmd: ['sleep', '600'], HostConfig: { NetworkMode: 'none' } };

async function using(options, work) {
  const container = await docker.createContainer(options);
  try {
    await container.start();
    return await work(container);
  } finally {
    await container.remove({ force: true, v: true });
  }
}

// Both outputs of a multiplexed stream.
async function demuxed(stream) {
  const out = new PassThrough(), err = new PassThrough();
  docker.modem.demuxStream(stream, out, err);
  stream.on('end', () => { out.end(); err.end(); });
  stream.on('close', () => { out.end(); err.end(); });
  return Promise.all([text(out), text(err)]);
}

function archive(name, content) {
  const pack = tar.pack();
  pack.entry({ name }, content);
  pack.finalize();
  return pack;
}

const eventually = async (check) => {
  for (let tries = 0; tries < 200; tries++) {
    const value = await check();
    if (value) return value;
    await new Promise((wake) => setTimeout(wake, 50));
  }
  throw new Error('it never became so');
};

await run({
  async 'ping, version, info, df'() {
    assert.equal((await docker.ping()).toString(), 'OK');
    assert.match((await docker.version()).ApiVersion, /^1\.\d+$/);
    assert.equal((await docker.info()).OSType, 'linux');
    assert.ok(Array.isArray((await docker.df()).Images));
  },
  async 'run with output'() {
    const out = new PassThrough(), err = new PassThrough();
    const [said, complained] = [text(out), text(err)];
    const options = { Tty: false, HostConfig: { AutoRemove: true } };
    const [result] = await docker.run(image, ['sh', '-c', 'echo out; echo err >&2; exit 3'], [out, err], options);
    out.end(); err.end();
    assert.equal(result.StatusCode, 3);
    assert.deepEqual([await said, await complained], ['out\n', 'err\n']);
  },
  async 'run with a terminal'() {
    const out = new PassThrough();
    const said = text(out);
    await docker.run(image, ['sh', '-c', 'test -t 1 && echo terminal'], out, { Tty: true, HostConfig: { AutoRemove: true } });
    out.end();
    assert.equal(await said, 'terminal\r\n');
  },
  async 'lists with filters'() {
    await using({ ...sleeper, Labels: { kind: 'dockerode' } }, async (container) => {
      const found = await docker.listContainers({ filters: { label: ['kind=dockerode'] } });
      assert.equal(found.length, 1);
      assert.ok(container.id === found[0].Id && found[0].State === 'running');
      assert.equal((await docker.listContainers({ filters: { label: ['kind=other'] } })).length, 0);
    });
  },
  async 'inspect, rename, pause, restart, stop, kill'() {
    await using(sleeper, async (container) => {
      await container.rename({ name: 'dockerode-renamed' });
      assert.equal((await container.inspect()).Name, '/dockerode-renamed');
      await container.pause();
      assert.equal((await container.inspect()).State.Status, 'paused');
      await container.unpause();
      await container.restart({ t: 0 });
      await container.stop({ t: 0 });
      assert.equal((await container.inspect()).State.ExitCode, 137);
      await container.start();
      await container.kill();
      assert.equal((await container.inspect()).State.Running, false);
    });
  },
  async 'wait for the end'() {
    const container = await docker.createContainer({ Image: image, Cmd: ['sh', '-c', 'exit 7'] });
    const ended = container.wait({ condition: 'next-exit' });
    await container.start();
    assert.equal((await ended).StatusCode, 7);
    await container.remove();
  },
  async 'attach with input'() {
    const options = { Image: image, Cmd: ['cat'], OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true };
    const container = await docker.createContainer(options);
    const stream = await container.attach({ stream: true, hijack: true, stdin: true, stdout: true, stderr: true });
    const said = demuxed(stream);
    await container.start();
    stream.write('hello\n');
    stream.end();
    assert.equal((await said)[0], 'hello\n');
    await container.wait();
    await container.remove();
  },
  async 'logs, at once and followed'() {
    await using({ Image: image, Cmd: ['sh', '-c', 'echo one; echo two >&2; sleep 600'] }, async (container) => {
      await eventually(async () => (await container.logs({ stdout: true, stderr: true })).includes('two'));
      assert.ok(!(await container.logs({ stdout: true })).includes('two'));
      const followed = await container.logs({ follow: true, stdout: true, stderr: true, tail: 1 });
      const said = demuxed(followed);
      await container.kill();
      assert.equal((await said)[1], 'two\n');
    });
  },
  async 'exec with input, without and inspected'() {
    await using(sleeper, async (container) => {
      const exec = await container.exec({ Cmd: ['cat'], AttachStdin: true, AttachStdout: true });
      const stream = await exec.start({ hijack: true, stdin: true });
      const said = demuxed(stream);
      stream.end('to exec\n');
      assert.equal((await said)[0], 'to exec\n');
      const failing = await container.exec({ Cmd: ['sh', '-c', 'echo no >&2; exit 5'], AttachStdout: true, AttachStderr: true });
      assert.equal((await demuxed(await failing.start({})))[1], 'no\n');
      assert.equal((await failing.inspect()).ExitCode, 5);
    });
  },
  async 'files go in and come out'() {
    await using(sleeper, async (container) => {
      await container.putArchive(archive('greeting', 'hello'), { path: '/tmp' });
      const stream = await container.getArchive({ path: '/tmp/greeting' });
      const extract = tar.extract();
      const content = new Promise((done) => extract.on('entry', async (_, entry, next) => { done(await text(entry)); next(); }));
      stream.pipe(extract);
      assert.equal(await content, 'hello');
      assert.ok(await container.infoArchive({ path: '/tmp/greeting' }));
    });
  },
  async 'top, stats, changes, export'() {
    await using(sleeper, async (container) => {
      assert.ok((await container.top()).Processes.length >= 1);
      const stats = await container.stats({ stream: false });
      assert.ok(stats.memory_stats && stats.cpu_stats);
      await container.changes();
      assert.ok((await text(await container.export())).length > 1000);
    });
  },
  async 'update'() {
    await using(sleeper, async (container) => {
      await container.update({ Memory: 64 << 20, MemorySwap: 128 << 20 });
      assert.equal((await container.inspect()).HostConfig.Memory, 64 << 20);
    });
  },
  async 'commit, tag, history, save, remove'() {
    await using(sleeper, async (container) => {
      await container.commit({ repo: 'dockerode-commit', tag: 'a', changes: 'ENV A=b' });
    });
    const made = docker.getImage('dockerode-commit:a');
    assert.ok((await made.inspect()).Config.Env.includes('A=b'));
    await made.tag({ repo: 'dockerode-commit', tag: 'b' });
    assert.ok((await made.history()).length >= 2);
    assert.ok((await text(await made.get())).length > 1000);
    for (const tag of ['a', 'b']) await docker.getImage(`dockerode-commit:${tag}`).remove();
  },
  async 'images are listed'() {
    assert.ok((await docker.listImages()).some((found) => found.RepoTags?.includes(image)));
  },
  async 'a pull is followed'() {
    const stream = await docker.pull('localhost:5000/busybox:latest');
    const told = await new Promise((done, fail) => docker.modem.followProgress(stream, (error, all) => error ? fail(error) : done(all)));
    assert.match(told.at(-1).status, /up to date|Downloaded newer/);
  },
  async 'networks'() {
    const network = await docker.createNetwork({ Name: 'dockerode-net', Labels: { a: 'b' } });
    try {
      await using({ ...sleeper, HostConfig: {} }, async (container) => {
        await network.connect({ Container: container.id, EndpointConfig: { Aliases: ['alias'] } });
        assert.ok((await network.inspect()).Containers[container.id]);
        await network.disconnect({ Container: container.id });
      });
      assert.equal((await docker.listNetworks({ filters: { name: ['dockerode-net'] } })).length, 1);
    } finally {
      await network.remove();
    }
  },
  async 'volumes'() {
    await docker.createVolume({ Name: 'dockerode-volume', Labels: { a: 'b' } });
    const volume = docker.getVolume('dockerode-volume');
    try {
      const options = { Image: image, Cmd: ['sh', '-c', 'echo kept > /v/file'], HostConfig: { Binds: ['dockerode-volume:/v'] } };
      await using(options, (container) => container.wait());
      assert.equal((await volume.inspect()).Labels.a, 'b');
      assert.equal((await docker.listVolumes({ filters: { name: ['dockerode-volume'] } })).Volumes.length, 1);
    } finally {
      await volume.remove();
    }
  },
  async 'a health check'() {
    const Healthcheck = { Test: ['CMD', 'true'], Interval: 1e9, Timeout: 10e9, Retries: 1 };
    await using({ ...sleeper, Healthcheck }, (container) =>
      eventually(async () => (await container.inspect()).State.Health?.Status === 'healthy'));
  },
  async 'events'() {
    const since = Math.floor(Date.now() / 1000) - 1;
    await using(sleeper, async (container) => {
      const stream = await docker.getEvents({ since, until: Math.floor(Date.now() / 1000) + 1, filters: { container: [container.id] } });
      const told = (await text(stream)).trim().split('\n').map((line) => JSON.parse(line));
      assert.deepEqual(told.filter((event) => event.Type === 'container').map((event) => event.Action).slice(0, 2), ['create', 'start']);
    });
  },
  async 'errors'() {
    await assert.rejects(docker.getContainer('no-such').inspect(), { statusCode: 404 });
    await assert.rejects(docker.createContainer({ Image: 'no-such-image' }), { statusCode: 404 });
    await using({ ...sleeper, name: 'dockerode-name' }, () =>
      assert.rejects(docker.createContainer({ ...sleeper, name: 'dockerode-name' }), { statusCode: 409 }));
  },
  async 'prunes'() {
    const container = await docker.createContainer({ ...sleeper, Labels: { prune: 'dockerode' } });
    const pruned = await docker.pruneContainers({ filters: { label: ['prune=dockerode'] } });
    assert.deepEqual(pruned.ContainersDeleted, [container.id]);
  },
});
