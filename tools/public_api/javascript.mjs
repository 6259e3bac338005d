/**
 * Writes to the standard output, as JSON, what the JavaScript package offers: the names that `js/index.js` and the
 * inspector export, with parameters and members, as the sources and their JSDoc have them.
 *
 * The sources are parsed, not run. What is marked `@internal`, `@private` or `@protected` is left out, and so is what
 * the platform calls (`connectedCallback`) or names (`name` of an error).
 *
 * Usage: node tools/public_api/javascript.mjs
 */

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript-5.4";

/** @typedef {{name: string, fields: string[] | null, type: string | null}} Parameter `fields` of an object */
/** @typedef {{name: string, parameters: Parameter[] | null}} Member `parameters` of a method */
/**
 * @typedef {object} PublicName
 * @property {string} name
 * @property {"class" | "constant" | "function" | "type" | "values"} kind `values`: an interface
 * @property {Parameter[] | null} parameters of a function, or of a class that callers may construct
 * @property {Member[]} members
 */

const JS = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "js");
const ENTRANCES = ["index.js", "inspector/index.js"];
const HIDDEN = ["internal", "private", "protected", "override"];

/** @type {Map<string, ts.SourceFile>} */
const files = new Map();

/** @param {string} path */
function parsed(path) {
  let file = files.get(path);
  if (file === undefined) {
    const kind = path.endsWith(".ts") ? ts.ScriptKind.TS : ts.ScriptKind.JS;
    file = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.ES2022, true, kind);
    files.set(path, file);
  }
  return file;
}

/** @type {Map<string, ts.InterfaceDeclaration | ts.TypeAliasDeclaration>} the shapes of values.d.ts, by name */
const shapes = new Map();
for (const statement of parsed(join(JS, "api", "values.d.ts")).statements)
  if (ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement))
    shapes.set(statement.name.text, statement);

/** @param {ts.Node} node */
const isHidden = (node) => ts.getJSDocTags(node).some((tag) => HIDDEN.includes(tag.tagName.text));

/** The members of an interface and of those that it extends. @param {ts.InterfaceDeclaration} shape */
function membersOf(shape) {
  const inherited = (shape.heritageClauses ?? []).flatMap((clause) =>
    clause.types.flatMap((type) => {
      const base = shapes.get(type.expression.getText());
      return base !== undefined && ts.isInterfaceDeclaration(base) ? [...base.members] : [];
    }),
  );
  return [...shape.members, ...inherited];
}

/** @param {ts.TypeElement} member */
const nameOf = (member) => member.name?.getText() ?? "";

/** Whether callers write such an object, so that its members are options. @param {ts.TypeElement[]} members */
const isGiven = (members) =>
  members.every(
    (member) =>
      ts.isPropertySignature(member) && !member.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ReadonlyKeyword),
  );

/**
 * The options that a parameter of this type stands for, and what the type is called, if it has a name.
 * @param {ts.TypeNode | undefined} type @returns {{fields: string[] | null, type: string | null}}
 */
function optionsIn(type) {
  if (type === undefined) return { fields: null, type: null };
  if (ts.isTypeLiteralNode(type)) return { fields: type.members.map(nameOf), type: null };
  if (ts.isIntersectionTypeNode(type)) {
    const fields = type.types.flatMap((part) => optionsIn(part).fields ?? []);
    return { fields: fields.length > 0 ? fields : null, type: null };
  }
  const name = ts.isTypeReferenceNode(type)
    ? type.typeName.getText()
    : ts.isImportTypeNode(type)
      ? type.qualifier?.getText()
      : undefined;
  const shape = shapes.get(name ?? "");
  if (name === undefined || shape === undefined || !ts.isInterfaceDeclaration(shape))
    return { fields: null, type: null };
  const members = membersOf(shape);
  return isGiven(members) ? { fields: members.map(nameOf), type: name } : { fields: null, type: null };
}

/** @param {ts.NodeArray<ts.ParameterDeclaration>} parameters @returns {Parameter[]} */
const parametersOf = (parameters) =>
  parameters.map((parameter) => ({
    // a destructured parameter is an object of options
    name: ts.isIdentifier(parameter.name) ? parameter.name.text : "options",
    ...optionsIn(parameter.type ?? jsdocType(parameter)),
  }));

/** @param {ts.ParameterDeclaration} parameter */
function jsdocType(parameter) {
  const type = ts.getJSDocType(parameter);
  if (type !== undefined || ts.isIdentifier(parameter.name)) return type;
  // the tag of a destructured parameter has a different name
  const place = parameter.parent.parameters.indexOf(parameter);
  return ts.getJSDocTags(parameter.parent).filter(ts.isJSDocParameterTag)[place]?.typeExpression?.type;
}

/** @param {ts.ClassDeclaration} declaration @returns {Member[]} */
function membersOfClass(declaration) {
  /** @type {Map<string, Member>} the two halves of an accessor are one member */
  const members = new Map();
  for (const member of declaration.members) {
    if (ts.isConstructorDeclaration(member) || member.name === undefined || ts.isPrivateIdentifier(member.name))
      continue;
    if (ts.getCombinedModifierFlags(member) & ts.ModifierFlags.Static || isHidden(member)) continue;
    const name = member.name.getText();
    if (name.endsWith("Callback")) continue;
    members.set(name, { name, parameters: ts.isMethodDeclaration(member) ? parametersOf(member.parameters) : null });
  }
  return [...members.values()];
}

/** @param {string} name @param {ts.ClassDeclaration} declaration @returns {PublicName} */
function classNamed(name, declaration) {
  const maker = declaration.members.find(ts.isConstructorDeclaration);
  const parameters = maker === undefined || isHidden(maker) ? null : parametersOf(maker.parameters);
  return { name, kind: "class", parameters, members: membersOfClass(declaration) };
}

/** The names in a frozen object, or none. @param {ts.Expression | undefined} value @returns {Member[]} */
function membersOfConstant(value) {
  const object = value !== undefined && ts.isCallExpression(value) ? value.arguments[0] : value;
  if (object === undefined || !ts.isObjectLiteralExpression(object)) return [];
  return object.properties.map((property) => ({ name: property.name?.getText() ?? "", parameters: null }));
}

/** @param {ts.ImportDeclaration} statement @param {string} name */
function importsName({ importClause }, name) {
  const names = importClause?.namedBindings;
  return (
    names !== undefined && ts.isNamedImports(names) && names.elements.some((element) => element.name.text === name)
  );
}

/** @param {string} name @param {string} path @returns {PublicName} */
function declared(name, path) {
  for (const statement of parsed(path).statements) {
    if (ts.isFunctionDeclaration(statement) && statement.name?.text === name)
      return { name, kind: "function", parameters: parametersOf(statement.parameters), members: [] };
    if (ts.isClassDeclaration(statement) && statement.name?.text === name) return classNamed(name, statement);
    if (ts.isVariableStatement(statement))
      for (const { name: declaredName, initializer } of statement.declarationList.declarations) {
        if (declaredName.getText() !== name) continue;
        if (initializer !== undefined && (ts.isArrowFunction(initializer) || ts.isFunctionExpression(initializer)))
          return { name, kind: "function", parameters: parametersOf(initializer.parameters), members: [] };
        return { name, kind: "constant", parameters: null, members: membersOfConstant(initializer) };
      }
    if (ts.isImportDeclaration(statement) && importsName(statement, name))
      return declared(name, join(dirname(path), /** @type {ts.StringLiteral} */ (statement.moduleSpecifier).text));
  }
  throw new Error(`${path} has no declaration of ${name} that tools/public_api/javascript.mjs understands`);
}

/** @param {string} name @returns {PublicName} */
function shaped(name) {
  const shape = shapes.get(name);
  if (shape === undefined) throw new Error(`js/api/values.d.ts does not have ${name}, which js/index.js names`);
  if (!ts.isInterfaceDeclaration(shape)) return { name, kind: "type", parameters: null, members: [] };
  const members = membersOf(shape).map((member) => ({
    name: nameOf(member),
    parameters: ts.isMethodSignature(member) ? parametersOf(member.parameters) : null,
  }));
  return { name, kind: "values", parameters: null, members };
}

/** @param {string} entrance @returns {PublicName[]} */
function exportedBy(entrance) {
  const path = join(JS, entrance);
  const file = parsed(path);
  /** @type {PublicName[]} */
  const names = [];
  for (const statement of file.statements) {
    if (!ts.isExportDeclaration(statement) || isHidden(statement)) continue;
    const clause = statement.exportClause;
    if (clause === undefined || !ts.isNamedExports(clause)) throw new Error(`${entrance} exports more than names`);
    const from = /** @type {ts.StringLiteral | undefined} */ (statement.moduleSpecifier);
    const source = from === undefined ? path : join(dirname(path), from.text);
    names.push(...clause.elements.map(({ name }) => declared(name.text, source)));
  }
  const typedefs = file.text.matchAll(/@typedef \{import\("\.\/api\/values\.js"\)\.(\w+)\}/g);
  return [...names, ...[...typedefs].map(([, name]) => shaped(name))];
}

process.stdout.write(JSON.stringify(ENTRANCES.flatMap(exportedBy)));
