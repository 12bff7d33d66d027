/** How a feature's files come into the initramfs: programs of ours, scripts, and Debian's programs with their libraries. */

import { access, chmod, copyFile, mkdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { RomulusError } from '../shared/errors.ts';
import { command } from './command.ts';

/** Compiles NAME.c of guest/ into bin/NAME, statically: the guest has no libraries of its own. */
export async function addProgram(
  root: string,
  sourceDir: string,
  name: string,
  libraries: readonly string[] = [],
): Promise<void> {
  const [program, source] = [join(root, 'bin', name), join(sourceDir, `${name}.c`)];
  await command('gcc', ['-O2', '-static', '-o', program, source, ...libraries], root);
}

/** `as`: its name in bin/. */
export async function addScript(root: string, sourceDir: string, name: string, as = name): Promise<void> {
  await copyFile(join(sourceDir, name), join(root, 'bin', as));
  await chmod(join(root, 'bin', as), 0o755);
}

/** A program of this system into bin/, its libraries to where it looks for them. PREREQUISITE names the package that lacks. */
export async function addSystemProgram(root: string, program: string, packageName: string): Promise<void> {
  await requireFile(program, packageName);
  for (const path of [program, ...(await librariesOf(program, root))]) {
    const place = join(root, path === program ? join('bin', basename(program)) : path);
    await mkdir(dirname(place), { recursive: true });
    await copyFile(path, place);
  }
}

/** Throws PREREQUISITE, naming the package, for a file that this system lacks. */
export async function requireFile(path: string, packageName: string): Promise<void> {
  await access(path).catch((cause) => {
    throw new RomulusError('PREREQUISITE', `cannot build the demo guest: ${path} is not installed`, {
      hint: `apt-get install ${packageName}`,
      cause,
    });
  });
}

/** Absolute paths, the dynamic loader among them; copyFile follows their links. */
export async function librariesOf(program: string, cwd: string): Promise<string[]> {
  const lines = (await command('ldd', [program], cwd)).split('\n');
  return lines.flatMap((line) => /(?:=>\s+)?(\/\S+)\s+\(0x/.exec(line)?.[1] ?? []);
}
