// Runs named checks one after the other and prints PASS or FAIL for each.
export async function run(checks) {
  for (const [name, check] of Object.entries(checks)) {
    let timer;
    const late = new Promise((_, fail) => {
      timer = setTimeout(() => fail(new Error('nothing happened for 60 s')), 60_000);
    });
    try {
      await Promise.race([check(), late]);
      console.log(`PASS ${name}`);
    } catch (error) {
      console.log(`FAIL ${name}: ${String(error?.stack ?? error).split('\n').slice(0, 4).join(' | ')}`);
    } finally {
      clearTimeout(timer);
    }
  }
  process.exit(0);
}

export function text(stream) {
  return new Promise((done, fail) => {
    const pieces = [];
    stream.on('data', (piece) => pieces.push(piece));
    stream.on('end', () => done(Buffer.concat(pieces).toString()));
    stream.on('error', fail);
  });
}
