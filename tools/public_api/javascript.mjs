/**
 * Writes to the standard output, as JSON, what the JavaScript package offers: the names that `js/index.js` and the
 * inspector export, with parameters, members, types and texts, as the sources and their JSDoc have them.
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

/**
 * @typedef {object} Told what is said of a name
 * @property {string} doc
 * @property {{name: string, text: string}[]} arguments
 * @property {string} returns
 * @property {{name: string, text: string}[]} throws
 */
/** @typedef {{name: string, fields: string[] | null, type: string | null}} Parameter `fields` of an object */
/**
 * @typedef {object} Member
 * @property {string} name
 * @property {Parameter[] | null} parameters of a method
 * @property {string} shown a method's signature; of anything else its type, or "" if that is not written
 * @property {boolean} optional
 * @property {Told} told
 */
/**
 * @typedef {object} PublicName
 * @property {string} name
 * @property {"class" | "constant" | "function" | "type" | "values"} kind `values`: an interface
 * @property {Parameter[] | null} parameters of a function, or of a class that callers may construct
 * @property {Member[]} members
 * @property {string} shown its signature, or what a type is; "" for a class that callers do not construct
 * @property {string | null} base the class that it extends
 * @property {boolean} passes whether such an error is passing
 * @property {Told} told
 * @property {Told | null} making what is said of a class's constructor
 */

const JS = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "js");
const ENTRANCES = ["index.js", "inspector/index.js"];
const HIDDEN = ["internal", "private", "protected", "override"];

/** @type {Told} */
const UNTOLD = { doc: "", arguments: [], returns: "", throws: [] };

/** What most names have not. @type {Omit<PublicName, "name" | "kind">} */
const NOTHING = { parameters: null, members: [], shown: "", base: null, passes: false, told: UNTOLD, making: null };

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
const jsdocType = (parameter) => ts.getJSDocType(parameter) ?? tagOf(parameter)?.typeExpression?.type;

/** @param {ts.ParameterDeclaration} parameter */
function tagOf(parameter) {
  // the tag of a destructured parameter has a different name
  const place = parameter.parent.parameters.indexOf(parameter);
  return ts.getJSDocTags(parameter.parent).filter(ts.isJSDocParameterTag)[place];
}

// -- texts ------------------------------------------------------------------------------------------------------------

/** @param {string | ts.NodeArray<ts.JSDocComment> | undefined} comment */
const textOf = (comment) => (ts.getTextOfJSDocComment(comment) ?? "").trim();

/** A type, on one line, without the files that its names are in. @param {ts.Node | undefined} type */
const typeText = (type) =>
  (type?.getText() ?? "")
    .replace(/import\("[^"]*"\)\./g, "")
    .replace(/\bOwnBytes\b/g, "Uint8Array") // which it is, and no name that is exported
    .replace(/\s+/g, " ")
    .replace(/^\| /, "");

/** Of an optional name, without what the question mark says. @param {ts.Node | undefined} type @param {boolean} optional */
const shownType = (type, optional) => (optional ? typeText(type).replace(/ \| undefined$/, "") : typeText(type));

/** @param {ts.Node} node @returns {Told} */
function told(node) {
  const tags = ts.getJSDocTags(node);
  const comments = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc);
  const named = tags.filter(ts.isJSDocParameterTag);
  return {
    doc: textOf(comments[comments.length - 1]?.comment),
    arguments: named
      .map((tag) => ({ name: tag.name.getText(), text: textOf(tag.comment) }))
      .filter(({ text }) => text !== ""),
    returns: textOf(tags.find(ts.isJSDocReturnTag)?.comment),
    throws: tags
      .filter((tag) => tag.tagName.text === "throws")
      .map((tag) => ({
        name: typeText(/** @type {ts.JSDocThrowsTag} */ (tag).typeExpression?.type),
        text: textOf(tag.comment),
      })),
  };
}

/** @param {ts.SignatureDeclaration} declaration @param {string} name */
function signature(declaration, name) {
  const parameters = declaration.parameters.map((parameter) => {
    const tag = tagOf(parameter);
    const optional = (tag?.isBracketed ?? false) || parameter.questionToken !== undefined;
    const type = shownType(parameter.type ?? jsdocType(parameter), optional);
    const own = ts.isIdentifier(parameter.name) ? parameter.name.text : (tag?.name.getText() ?? "options");
    return `${own}${optional ? "?" : ""}${type === "" ? "" : `: ${type}`}`;
  });
  const result = typeText(declaration.type ?? ts.getJSDocReturnType(declaration));
  return `${name}(${parameters.join(", ")})${result === "" ? "" : `: ${result}`}`;
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
    if (name.endsWith("Callback") || members.has(name)) continue;
    const isMethod = ts.isMethodDeclaration(member);
    members.set(name, {
      name,
      parameters: isMethod ? parametersOf(member.parameters) : null,
      shown: isMethod ? signature(member, name) : typeText(ts.getJSDocType(member) ?? ts.getJSDocReturnType(member)),
      optional: false,
      told: told(member),
    });
  }
  return [...members.values()];
}

/** @param {string} name @param {ts.ClassDeclaration} declaration @returns {PublicName} */
function classNamed(name, declaration) {
  const maker = declaration.members.find(ts.isConstructorDeclaration);
  const isMade = maker !== undefined && !isHidden(maker);
  const passes = declaration.members.find((member) => member.name?.getText() === "passes");
  return {
    name,
    kind: "class",
    parameters: isMade ? parametersOf(maker.parameters) : null,
    members: membersOfClass(declaration),
    shown: isMade ? signature(maker, `new ${name}`) : "",
    base: declaration.heritageClauses?.[0]?.types[0]?.expression.getText() ?? null,
    passes: passes !== undefined && ts.isPropertyDeclaration(passes) && passes.initializer?.getText() === "true",
    told: told(declaration),
    making: isMade ? told(maker) : null,
  };
}

/** @param {ts.FunctionDeclaration | ts.ArrowFunction | ts.FunctionExpression} declaration @param {string} name */
const functionNamed = (declaration, name) => ({
  ...NOTHING,
  name,
  kind: /** @type {const} */ ("function"),
  parameters: parametersOf(declaration.parameters),
  shown: signature(declaration, name),
  told: told(declaration),
});

/** The names in a frozen object, or none. @param {ts.Expression | undefined} value @returns {Member[]} */
function membersOfConstant(value) {
  const object = value !== undefined && ts.isCallExpression(value) ? value.arguments[0] : value;
  if (object === undefined || !ts.isObjectLiteralExpression(object)) return [];
  return object.properties.map((property) => ({
    name: property.name?.getText() ?? "",
    parameters: null,
    shown: ts.isPropertyAssignment(property) ? property.initializer.getText() : "",
    optional: false,
    told: told(property),
  }));
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
    if (ts.isFunctionDeclaration(statement) && statement.name?.text === name) return functionNamed(statement, name);
    if (ts.isClassDeclaration(statement) && statement.name?.text === name) return classNamed(name, statement);
    if (ts.isVariableStatement(statement))
      for (const { name: declaredName, initializer } of statement.declarationList.declarations) {
        if (declaredName.getText() !== name) continue;
        if (initializer !== undefined && (ts.isArrowFunction(initializer) || ts.isFunctionExpression(initializer)))
          return functionNamed(initializer, name);
        const shape = shapes.get(name);
        const shown = shape !== undefined && ts.isTypeAliasDeclaration(shape) ? typeText(shape.type) : "";
        const docs = [told(statement), ...(shape === undefined ? [] : [told(shape)])].map(({ doc }) => doc);
        const members = membersOfConstant(initializer);
        return { ...NOTHING, name, kind: "constant", members, shown, told: { ...UNTOLD, doc: docs.join("\n\n") } };
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
  if (!ts.isInterfaceDeclaration(shape))
    return { ...NOTHING, name, kind: "type", shown: typeText(shape.type), told: told(shape) };
  const members = membersOf(shape).map((member) => {
    const optional = member.questionToken !== undefined;
    const type = ts.isPropertySignature(member) ? member.type : undefined;
    return {
      name: nameOf(member),
      parameters: ts.isMethodSignature(member) ? parametersOf(member.parameters) : null,
      shown: ts.isMethodSignature(member) ? signature(member, nameOf(member)) : shownType(type, optional),
      optional,
      told: told(member),
    };
  });
  return { ...NOTHING, name, kind: "values", members, told: told(shape) };
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
