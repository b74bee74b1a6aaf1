// Calls the emulator through the unmodified Node client and prints what came back as one JSON line.
// usage: node check.mjs <base url> <access token>
import { Client } from '@hubspot/api-client'

const [basePath, accessToken] = process.argv.slice(2)
const client = new Client({ accessToken, basePath, numberOfApiCallRetries: 0 })
const seen = {}

const contacts = client.crm.contacts
const made = await contacts.basicApi.create({ properties: { email: 'node@buyer.example', lastname: '北' } })
seen.created = made.properties.lastname

const batch = await contacts.batchApi.create({
  inputs: Array.from({ length: 100 }, (_, n) => ({ properties: { email: `n${n}@buyer.example` } }))
})
seen.batchCreated = batch.results.length
await contacts.batchApi.create({
  inputs: Array.from({ length: 60 }, (_, n) => ({ properties: { email: `m${n}@buyer.example` } }))
})
seen.page = (await contacts.basicApi.getPage(10)).paging.next.after !== undefined
seen.all = (await contacts.getAll(100)).length

const search = await contacts.searchApi.doSearch({
  filterGroups: [{ filters: [{ propertyName: 'email', operator: 'EQ', value: 'NODE@buyer.example' }] }],
  properties: ['lastname'],
  limit: 5
})
seen.search = [search.total, search.results[0].properties.lastname]

const updated = await contacts.batchApi.update({
  inputs: [
    { id: made.id, properties: { city: '札幌' } },
    { id: '999999', properties: { city: '札幌' } }
  ]
})
seen.partial = [updated.results.length, updated.numErrors, updated.errors[0].context.ids[0]]

await client.crm.properties.coreApi.create('tasks', {
  name: 'own_key', label: 'Key', type: 'string', fieldType: 'text', groupName: 'task', hasUniqueValue: true
})
const task = { idProperty: 'own_key', id: 'k1', properties: { own_key: 'k1', hs_timestamp: '1764500000000' } }
const first = await client.crm.objects.tasks.batchApi.upsert({ inputs: [task] })
const second = await client.crm.objects.tasks.batchApi.upsert({ inputs: [task] })
seen.upsert = [first.results[0]._new, second.results[0]._new, first.results[0].id === second.results[0].id]

const company = await client.crm.companies.basicApi.create({ properties: { name: 'C' } })
await client.crm.associations.v4.basicApi.createDefault('contacts', made.id, 'companies', company.id)
const linked = await client.crm.associations.v4.batchApi.getPage('contacts', 'companies', { inputs: [{ id: made.id }] })
seen.linked = linked.results[0].to.map((to) => [String(to.toObjectId) === company.id, to.associationTypes.length])

seen.property = (await client.crm.properties.coreApi.getByName('contacts', 'email')).fieldType
seen.owner = (await client.crm.owners.ownersApi.getPage()).results[0].email

const codeOf = async (call) => {
  try {
    await call()
    return 'no error'
  } catch (error) {
    return [error.code, error.body.category, error.body.message]
  }
}
seen.conflict = await codeOf(() => contacts.basicApi.create({ properties: { email: 'node@buyer.example' } }))
seen.invalid = (await codeOf(() => contacts.basicApi.create({ properties: { nothing: '1' } }))).slice(0, 2)
seen.missing = (await codeOf(() => contacts.basicApi.getById('999999'))).slice(0, 2)
await contacts.basicApi.archive(made.id)
seen.archived = (await codeOf(() => contacts.basicApi.getById(made.id)))[0]

console.log(JSON.stringify(seen))
