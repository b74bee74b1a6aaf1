// Drives the emulator with an unmodified jsforce and prints one JSON document of what it saw.
"use strict";

const jsforce = require("jsforce");

async function refused(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    return { code: error.errorCode, message: error.message };
  }
}

async function main() {
  const { url, token, username, password } = JSON.parse(process.argv[2]);
  const connection = new jsforce.Connection({ instanceUrl: url, accessToken: token, version: "62.0" });
  const seen = {};

  const paged = await connection.query("SELECT Id, LastName FROM Lead ORDER BY Id", {
    autoFetch: true,
    maxFetch: 10000,
  });
  seen.paged = { total: paged.totalSize, fetched: paged.records.length, last: paged.records.at(-1).LastName };
  seen.nested = await connection.query("SELECT Name, (SELECT LastName FROM Contacts) FROM Account");

  const created = await connection.sobject("Lead").create({ LastName: "山田", Company: "見込み商事" });
  seen.created = created.success;
  seen.updated = await connection.sobject("Lead").update({ Id: created.id, Title: "部長" });
  seen.retrieved = await connection.sobject("Lead").retrieve(created.id);
  seen.upserts = [
    await connection.sobject("Lead").upsert({ Key__c: "k-1", LastName: "x", Company: "y" }, "Key__c"),
    await connection.sobject("Lead").upsert({ Key__c: "k-1", Title: "t" }, "Key__c"),
  ];
  seen.many = await connection.sobject("Lead").create([
    { LastName: "a", Company: "c" },
    { LastName: "b" },
    { LastName: "c", Company: "c" },
  ]);
  seen.many_updated = await connection
    .sobject("Lead")
    .update(seen.many.filter((one) => one.success).map((one) => ({ Id: one.id, Title: "u" })));
  seen.found = await connection.sobject("Lead").find({ Title: "u" }, ["Id", "Title"]).execute();
  seen.deleted = await connection.sobject("Lead").destroy(created.id);
  seen.after_delete = await refused(connection.sobject("Lead").retrieve(created.id));

  const described = await connection.sobject("Lead").describe();
  seen.described = described.fields.filter((one) => ["Email", "Key__c"].includes(one.name)).map((one) => one.type);
  seen.objects = (await connection.describeGlobal()).sobjects.map((one) => one.name);
  seen.wrong_query = await refused(connection.query("SELECT Nope FROM Lead"));
  seen.wrong_row = await refused(connection.sobject("Lead").create({ LastName: "x" }));
  seen.limit = connection.limitInfo;
  seen.identity = (await connection.identity()).username;

  const stranger = new jsforce.Connection({ instanceUrl: url, accessToken: "nonsense", version: "62.0" });
  seen.stranger = await refused(stranger.query("SELECT Id FROM Lead"));

  const soap = new jsforce.Connection({ loginUrl: url, version: "59.0" });
  await soap.login(username, password);
  seen.soap = (await soap.query("SELECT COUNT() FROM User")).totalSize;
  process.stdout.write(JSON.stringify(seen));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
